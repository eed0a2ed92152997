"""The tasks inside lm-eval, played by models whose every reply is known."""

import json
import math
import re
import statistics
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from points24.harness.checkpoints.shipped import model_folder
from points24.tasks.cards import RULES, Deal, Rule
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import hand_set
from points24.tasks.lm_eval.files import TASK_FILES
from points24.tasks.lm_eval.task import (
    CHAT_GEN_TOKS,
    PLAIN_GEN_TOKS,
    reply_limit,
    weighted_mean,
    weighted_mean_stderr,
)
from points24.tasks.prompts import json_reply, template
from points24.tasks.solver import solutions

PROMPT = re.compile(
    r"J counts as (\d+), Q counts as (\d+), K counts as (\d+).*Cards: ([^\n]*)\nReply:$", re.DOTALL
)
FILTERS = ("strict-match", "flexible-extract")


def deal_in(prompt: str) -> Deal:
    found = PROMPT.search(prompt)
    assert found, prompt
    j, q, k, cards = found.groups()
    return Deal(tuple(cards.split(", ")), Rule(int(j), int(q), int(k)))


def solver(prompt: str) -> str:
    """Plays by the rule in the prompt."""
    deal = deal_in(prompt)
    return json_reply(deal, solutions(deal.values, deal.target)[0])


def memoriser(prompt: str) -> str:
    """Plays by the ID rule, whatever the prompt says."""
    deal = deal_in(prompt).under(RULES["id"])
    return json_reply(deal, (solutions(deal.values, deal.target) or ("1+1",))[0])


class Player(LM):
    """An lm-eval model that replies to each prompt by a function."""

    def __init__(self, play):
        super().__init__()
        self.play = play
        self.prompts: list[str] = []
        self.limits: set[int] = set()

    def generate_until(self, requests, disable_tqdm=False):
        self.prompts += [request.args[0] for request in requests]
        self.limits |= {request.args[1]["max_gen_toks"] for request in requests}
        return [self.play(request.args[0]) for request in requests]

    def loglikelihood(self, requests, disable_tqdm=False):
        raise NotImplementedError

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise NotImplementedError


def evaluate(lm, tasks, metadata=None, **kwargs) -> Any:
    manager = TaskManager(include_path=str(TASK_FILES), include_defaults=False, metadata=metadata)
    run: Any = simple_evaluate  # its decorator hides the signature
    return run(lm, tasks=tasks, task_manager=manager, **kwargs)


def judged(results, task, name) -> list[Any]:
    """What a filter found in each deal's reply, or replies."""
    rows = (row for row in results["samples"][task] if row["filter"] == name)
    return [json.loads(row["filtered_resps"][0]) for row in rows]


def verdicts(results, task, name) -> Counter[str]:
    return Counter(reply["verdict"] for reply in judged(results, task, name))


class Reasoner(Player):
    """Its chat template opens thinking, as some do; it never closes it."""

    @property
    def tokenizer_name(self):
        return "reasoner"

    def chat_template(self, chat_template=False):
        return "a template"

    def apply_chat_template(self, chat_history, add_generation_prompt=True):
        return chat_history[-1]["content"] + "<think>\n"  # as DeepSeek-R1's does


@pytest.mark.parametrize("task", ["points24_ood", "points24_ood_revise"])
def test_thinking_that_the_prompt_opened_and_the_reply_does_not_close_is_no_answer(task):
    lm = Reasoner(lambda prompt: "K+5*2+A = 24")
    results = evaluate(lm, [task], {"attempts": 2}, limit=3, apply_chat_template=True)
    for name in FILTERS:
        for found in judged(results, task, name):
            for reply in found if isinstance(found, list) else [found]:
                assert (reply["verdict"], reply["truncated"]) == ("no_answer", True)
    assert len(lm.prompts) == (6 if "revise" in task else 3)


def test_a_solver_gets_everything_right():
    results = evaluate(Player(solver), ["points24_all"])
    assert len(results["n-samples"]) == 7
    for task in results["n-samples"]:
        assert results["n-samples"][task]["effective"] == len(hand_set(task.removeprefix("points24_")))
        for name in FILTERS:
            assert results["results"][task][f"acc,{name}"] == 1
            assert results["results"][task][f"acc_weighted,{name}"] == 1


def test_a_memoriser_is_seen_through(known_counts):
    results = evaluate(Player(memoriser), ["points24_ood", "points24_face_id", "points24_plain_ood"])
    rows = results["results"]
    for name in FILTERS:
        assert rows["points24_face_id"][f"acc,{name}"] == 1  # same hands, the rule it knows
        assert rows["points24_plain_ood"][f"acc,{name}"] == 1  # other prompt, no card to misread
        ood = rows["points24_ood"]
        assert ood[f"acc,{name}"] == 0
        both = known_counts["face_hands_solvable_under_both_rules"]
        assert ood[f"wrong_rule,{name}"] == pytest.approx(both / 796)
        assert verdicts(results, "points24_ood", name) == {"wrong_rule": both, "wrong_numbers": 796 - both}


def test_replies_outside_the_format_differ_between_the_filters():
    results = evaluate(Player(lambda p: "I think that " + solver(p)), ["points24_ood"], limit=20)
    assert verdicts(results, "points24_ood", "strict-match") == {"no_answer": 20}
    assert verdicts(results, "points24_ood", "flexible-extract") == {"correct": 20}


def test_lm_eval_prints_few_metrics_and_the_samples_keep_every_verdict():
    replies = iter(["", "<think>hm", '{"cards": ["K"', "1+2+3+4", "x", "(1", "24", "1+1"])
    results = evaluate(Player(lambda _: next(replies)), ["points24_id"], limit=8)
    row = results["results"]["points24_id"]
    shown = {key.partition(",")[0] for key in row if "," in key and "_stderr" not in key}
    assert shown == {"acc", "acc_weighted", "wrong_rule"}
    for name in FILTERS:
        assert verdicts(results, "points24_id", name).total() == 8
        assert sum(reply["truncated"] for reply in judged(results, "points24_id", name)) == 2


def test_samples_show_formula_verdict_and_reason_and_survive_any_reply():
    lm = Player(lambda _: '{"cards": [], "number": [], "formula": "\\ud800"}')
    sample = evaluate(lm, ["points24_ood"], limit=1)["samples"]["points24_ood"][0]
    judged = json.loads(sample["filtered_resps"][0])
    assert judged == {
        "verdict": "illegal",
        "formula": "\ud800",
        "reason": "not a legal formula: unexpected '\\ud800'",
        "truncated": False,
    }
    json.dumps(sample, ensure_ascii=False, default=str).encode("utf-8")


def test_standard_errors_are_given_for_shares_and_for_the_weighted_mean():
    solved = iter([True, False, True, False, True, False, True, True])
    lm = Player(lambda p: solver(p) if next(solved) else "")
    row = evaluate(lm, ["points24_ood"], limit=8)["results"]["points24_ood"]
    outcomes = [1, 0, 1, 0, 1, 0, 1, 1]
    weights = hand_set("ood").weights[:8]
    assert row["acc_stderr,strict-match"] == pytest.approx(statistics.stdev(outcomes) / math.sqrt(8))
    assert row["acc_weighted,strict-match"] == pytest.approx(
        sum(w * o for w, o in zip(weights, outcomes, strict=True)) / sum(weights)
    )
    assert 0 < row["acc_weighted_stderr,strict-match"] < 0.5


def test_equal_weights_give_the_plain_mean_and_its_standard_error():
    items = [(1.0, 3), (0.0, 3), (1.0, 3)]
    assert weighted_mean(items) == pytest.approx(2 / 3)
    assert weighted_mean_stderr(items) == pytest.approx(statistics.stdev([1, 0, 1]) / math.sqrt(3))


def test_a_single_document_has_no_standard_error():
    row = evaluate(Player(solver), ["points24_ood"], limit=1)["results"]["points24_ood"]
    assert math.isnan(row["acc_weighted_stderr,strict-match"])


def test_results_carry_what_was_asked(tmp_path):
    results = evaluate(Player(solver), ["points24_ood"], limit=1)
    metadata = results["configs"]["points24_ood"]["metadata"]
    assert metadata["hand_set_digest"] == hand_set("ood").digest
    assert metadata["template_digest"] == template().digest
    assert (metadata["rule"], metadata["target"], metadata["version"]) == ("ood", 24, 1.0)


def test_metadata_replaces_template_rule_and_target(tmp_path):
    file = tmp_path / "t.jinja"
    file.write_text("J counts as {{ J }}, Q counts as {{ Q }}, K counts as {{ K }}. To {{ target }}.\n"
                    "Cards: {{ cards | join(', ') }}\nReply:")  # fmt: skip
    metadata = {"template": str(file), "rule": "J=5,Q=7,K=9", "target": 36}
    lm = Player(lambda p: json_reply(deal_in(p), solutions(deal_in(p).values, 36)[0]))
    results = evaluate(lm, ["points24_ood"], metadata, limit=10)
    assert "Q counts as 7, K counts as 9. To 36." in lm.prompts[0]
    assert results["results"]["points24_ood"]["acc,strict-match"] == 1
    metadata = results["configs"]["points24_ood"]["metadata"]
    assert metadata["template_digest"] == template(str(file)).digest
    assert metadata["hand_set_digest"] == hand_set("ood", Rule(5, 7, 9), 36).digest


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"rule": "odd"}, "unknown rule 'odd'"),
        ({"target": "many"}, "the target is a whole number"),
        ({"hand_set": "odd"}, "unknown hand set 'odd'"),
        ({"template": "/nowhere"}, "template /nowhere: cannot be read"),
        ({"attempt": 3}, "metadata: unknown key attempt; did you mean attempts"),
        ({"templates": "x", "pretrained": "m"}, "metadata: unknown key templates; did you mean template"),
    ],
)
def test_bad_metadata_is_refused(metadata, message):
    with pytest.raises(InputError, match=message):
        evaluate(Player(solver), ["points24_ood"], metadata, limit=1)


def test_few_shot_examples_are_other_deals_with_right_replies():
    lm = Player(solver)
    evaluate(lm, ["points24_ood"], limit=30, num_fewshot=2)
    asked = template().render(hand_set("ood").deals[0])
    for prompt in lm.prompts:
        *shots, question = prompt.split("\n\n")
        assert len(shots) == 2
        for shot in shots:
            example, reply = shot.split("\nReply: ")
            assert solver(example + "\nReply:") == reply
            assert example not in question
    assert asked in lm.prompts[0]


@pytest.mark.parametrize(
    ("context", "limit"), [(None, CHAT_GEN_TOKS), (131_072, CHAT_GEN_TOKS), (2048, 1024), (512, 256)]
)
def test_the_reply_limit_leaves_room_to_reason_within_the_context(context, limit):
    class Model:
        max_length = context

    assert reply_limit(Model()) == limit


def test_the_reply_limit_for_plain_text_and_the_users_own():
    lm = Player(solver)
    evaluate(lm, ["points24_id"], limit=1)
    evaluate(lm, ["points24_id"], limit=1, gen_kwargs={"max_gen_toks": 77})
    assert lm.limits == {PLAIN_GEN_TOKS, 77}


@contextmanager
def chat_server(play):
    """The model_args of an OpenAI-compatible server whose replies are known, and the requests that it gets."""

    class Server(BaseHTTPRequestHandler):
        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append(request)
            content = play(request["messages"])
            body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format, *args):
            pass

    requests: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
    try:
        yield {"model": "solver", "base_url": url, "num_concurrent": 4}, requests
    finally:
        server.shutdown()


def test_a_chat_server_is_scored():
    with chat_server(lambda messages: solver(messages[-1]["content"])) as (arguments, requests):
        row = evaluate(
            "local-chat-completions",
            ["points24_ood"],
            limit=10,
            apply_chat_template=True,
            model_args=arguments,
        )["results"]["points24_ood"]
    assert row["acc,strict-match"] == 1
    assert {request["max_tokens"] for request in requests} == {CHAT_GEN_TOKS}


def test_the_shipped_model_plays_alike_with_and_without_chat_template():
    arguments = {"pretrained": str(model_folder("nano-base")), "dtype": "float32"}
    rows = [
        evaluate("hf", ["points24_ood"], model_args=arguments, device="cpu", batch_size=32, limit=64, **chat)[
            "results"
        ]["points24_ood"]
        for chat in ({}, {"apply_chat_template": True})
    ]
    assert rows[0] == rows[1]
    assert 0.05 < rows[0]["acc,strict-match"] < 0.9
    assert rows[0]["acc,strict-match"] == rows[0]["acc,flexible-extract"]


def test_the_lm_eval_command_needs_no_further_flag(tmp_path):
    """As a user would: from another folder, with the tasks that the installation put beside lm-eval's own."""
    command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--tasks", "points24_ood", "--device", "cpu"]
    command += ["--model_args", f"pretrained={model_folder('nano-base')}", "--limit", "8"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "|points24_ood|" in run.stdout
    assert re.search(r"strict-match +\| +0\|acc +\|↑ +\|", run.stdout)


def test_the_lm_eval_command_refuses_bad_metadata_in_one_line(tmp_path):
    command = [sys.executable, "-m", "lm_eval", "--model", "dummy", "--tasks", "points24_ood"]
    command += ["--metadata", '{"rule": "odd"}']
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].startswith("points24: error: unknown rule 'odd'; allowed: id, ood")
    assert "Traceback" not in run.stderr
