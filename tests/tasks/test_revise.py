"""Several attempts with feedback inside lm-eval, played by models whose every reply is known."""

import json
import math
import subprocess
import sys
from collections import Counter

import pytest

from points24.harness.checkpoints.shipped import model_folder
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import hand_set
from points24.tasks.lm_eval.files import TASK_FILES, task_version
from points24.tasks.prompts import template
from points24.tasks.protocols.protocol import read_protocol
from points24.tasks.revision import deciding
from tests.tasks.test_lm_eval import FILTERS, Player, chat_server, evaluate, judged, solver, verdicts

TASK = "points24_ood_revise"
NOTHING = "I do not know."
WORDING = read_protocol("points24").feedback_digest
NOTHING_FOUND = "Your formula is not correct: no formula found. Reply again in the same form.\nReply:"


class ChatPlayer(Player):
    """Replies to a list of messages by a function; its chat template is JSON."""

    max_length: int | None = None

    def __init__(self, play):
        super().__init__(lambda prompt: play(json.loads(prompt)))
        self.batches: list[list[list[dict[str, str]]]] = []

    @property
    def tokenizer_name(self):
        return "player"

    def tok_encode(self, text):
        return list(text)

    def apply_chat_template(self, chat_history, add_generation_prompt=True):
        assert add_generation_prompt
        return json.dumps(chat_history)

    def generate_until(self, requests, disable_tqdm=False):
        self.batches.append([json.loads(request.args[0]) for request in requests])
        return super().generate_until(requests, disable_tqdm)


def turn(messages) -> int:
    """Which attempt is asked for."""
    return 1 + sum(message["role"] == "assistant" for message in messages)


def question(messages) -> str:
    """The prompt of the deal."""
    return messages[0]["content"]


def wins_at(number):
    return lambda messages: solver(question(messages)) if turn(messages) == number else NOTHING


def play(lm, metadata=None, limit=8, **settings):
    return evaluate(lm, [TASK], metadata, limit=limit, apply_chat_template=True, **settings)


def row_of(results):
    return results["results"][TASK]


def said(results, name, task=TASK):
    """The verdicts on the replies about each deal."""
    return [[reply["verdict"] for reply in replies] for replies in judged(results, task, name)]


def samples(results, name):
    return [sample for sample in results["samples"][TASK] if sample["filter"] == name]


def test_who_solves_at_once_is_not_asked_again():
    lm = ChatPlayer(wins_at(1))
    row = row_of(play(lm))
    assert [len(batch) for batch in lm.batches] == [8]
    for name in FILTERS:
        assert row[f"acc,{name}"] == row[f"acc@1,{name}"] == row[f"attempts_used,{name}"] == 1


def test_who_solves_after_feedback_wins_at_the_second_attempt():
    lm = ChatPlayer(wins_at(2))
    results = play(lm)
    row = row_of(results)
    assert [len(batch) for batch in lm.batches] == [8, 8]
    for name in FILTERS:
        assert [row[f"acc@{k},{name}"] for k in range(1, 6)] == [0, 1, 1, 1, 1]
        assert (row[f"acc,{name}"], row[f"acc_weighted,{name}"], row[f"attempts_used,{name}"]) == (1, 1, 2)
        assert said(results, name) == [["no_answer", "correct"]] * 8


def test_who_never_solves_has_all_attempts():
    lm = ChatPlayer(lambda messages: "1+1" if turn(messages) == 5 else NOTHING)
    results = play(lm)
    row = row_of(results)
    assert [len(batch) for batch in lm.batches] == [8] * 5
    assert (row["acc,flexible-extract"], row["attempts_used,flexible-extract"]) == (0, 5)
    assert said(results, "flexible-extract") == [[*["no_answer"] * 4, "wrong_numbers"]] * 8


def test_each_attempt_sees_all_earlier_replies_and_what_the_verifier_said():
    replies = {
        1: NOTHING,
        2: '{"cards": [], "number": [], "formula": "1+1"}',
        3: '{"cards": [], "number": [], "formula": "(1"}',
    }
    said = {
        1: NOTHING_FOUND,
        2: "Your formula is not correct: it does not use the number of each card exactly once. "
        "Reply again in the same form.\nReply:",
        3: "Your formula is not correct: not a legal formula: expected ')', found 'the end'. "
        "Reply again in the same form.\nReply:",
    }
    lm = ChatPlayer(lambda messages: replies.get(turn(messages), NOTHING))
    play(lm, {"attempts": 4}, limit=3)
    for place, deal in enumerate(hand_set("ood").deals[:3]):
        expected = [{"role": "user", "content": template().render(deal)}]
        for number in range(1, 5):
            assert lm.batches[number - 1][place] == expected
            if number < 4:
                expected.append({"role": "assistant", "content": replies[number]})
                expected.append({"role": "user", "content": said[number]})


def test_replies_stay_with_their_deals_as_dialogues_drop_out():
    """Deal i is won at attempt i mod 6 + 1, which for every sixth is one too late."""
    prompts = [template().render(deal) for deal in hand_set("ood").deals[:18]]
    at = {prompt: place % 6 + 1 for place, prompt in enumerate(prompts)}

    def reply(messages):
        number = turn(messages)
        won = at[question(messages)] == number
        return (
            solver(question(messages)) if won else f"reply {number} to {prompts.index(question(messages))}?"
        )

    lm = ChatPlayer(reply)
    results = play(lm, limit=18)
    assert [len(batch) for batch in lm.batches] == [18, 15, 12, 9, 6]
    for place, sample in enumerate(samples(results, "strict-match")):
        wanted = place % 6 + 1
        (replies,) = sample["resps"]
        assert replies[: wanted - 1] == [f"reply {k} to {place}?" for k in range(1, min(wanted, 6))]
        assert len(replies) == min(wanted, 5)
        verdicts = [judged["verdict"] for judged in json.loads(sample["filtered_resps"][0])]
        assert len(verdicts) == len(replies)
        assert [verdict == "correct" for verdict in verdicts] == [
            k == wanted for k in range(1, len(replies) + 1)
        ]
        assert sample["acc"] == (wanted < 6)
    row = row_of(results)
    for name in FILTERS:
        assert [row[f"acc@{k},{name}"] for k in range(1, 6)] == pytest.approx([k / 6 for k in range(1, 6)])
        assert row[f"attempts_used,{name}"] == pytest.approx((1 + 2 + 3 + 4 + 5 + 5) / 6)


def test_success_never_falls_with_further_attempts():
    """Also where the filters disagree: the verifier goes by the format, and talks a right answer away."""
    kinds = ["in words: {}", "{}", "x", "{}"]

    def reply(messages):
        kind = kinds[(turn(messages) + sum(question(messages).encode())) % 4]
        return kind.format(solver(question(messages)))

    row = row_of(play(ChatPlayer(reply), limit=60))
    for name in FILTERS:
        successes = [row[f"acc@{k},{name}"] for k in range(1, 6)]
        assert successes == sorted(successes)
        assert successes[-1] == row[f"acc,{name}"]


def test_a_right_answer_outside_the_format_counts_for_the_flexible_filter_alone():
    lm = ChatPlayer(lambda m: "I think: " + solver(question(m)) if turn(m) == 2 else NOTHING)
    results = play(lm)
    row = row_of(results)
    assert len(lm.batches) == 5
    assert [row[f"acc@{k},strict-match"] for k in range(1, 6)] == [0, 0, 0, 0, 0]
    assert [row[f"acc@{k},flexible-extract"] for k in range(1, 6)] == [0, 1, 1, 1, 1]
    assert (row["attempts_used,strict-match"], row["attempts_used,flexible-extract"]) == (5, 2)
    assert said(results, "strict-match") == [["no_answer"] * 5] * 8


@pytest.mark.parametrize(
    ("verdicts", "place"),
    [
        (["correct"], 0),
        (["illegal", "no_answer"], 1),
        (["illegal", "correct", "no_answer", "correct"], 1),
    ],
)
def test_the_first_correct_reply_decides_else_the_last(verdicts, place):
    assert deciding(verdicts) == place


def test_a_single_deal_can_be_played():
    lm = ChatPlayer(wins_at(3))
    row = row_of(play(lm, limit=1))
    assert len(lm.batches) == 3
    assert row["acc,strict-match"] == 1
    assert math.isnan(row["acc_weighted_stderr,strict-match"])


def test_every_metric_has_a_standard_error():
    row = row_of(play(ChatPlayer(wins_at(2))))
    metrics = {key.partition(",")[0] for key in row if "," in key and "_stderr" not in key}
    assert metrics == {
        "acc",
        *(f"acc@{k}" for k in range(1, 6)),
        "acc_weighted",
        "attempts_used",
        "wrong_rule",
    }
    for metric in metrics:
        assert isinstance(row[f"{metric}_stderr,strict-match"], float), metric


def test_metadata_says_how_many_attempts_and_what_was_said():
    lm = ChatPlayer(wins_at(4))
    results = play(lm, {"attempts": 3})
    row, metadata = row_of(results), results["configs"][TASK]["metadata"]
    assert len(lm.batches) == 3
    assert (metadata["attempts"], metadata["feedback_digest"]) == (3, WORDING)
    assert "acc@3,strict-match" in row
    assert "acc@4,strict-match" not in row
    assert play(ChatPlayer(wins_at(4)))["configs"][TASK]["metadata"]["attempts"] == 5


@pytest.mark.parametrize("attempts", [0, 21, 2.0, True, "many", None])
def test_bad_attempts_are_refused(attempts):
    with pytest.raises(InputError, match="attempts: expected a whole number from 1 to 20, found"):
        play(ChatPlayer(wins_at(1)), {"attempts": attempts})


def test_a_single_attempt_task_stays_one_beside_them():
    results = evaluate(
        ChatPlayer(lambda messages: NOTHING), ["points24_ood", "points24_revise"], {"attempts": 2},
        limit=2, apply_chat_template=True,
    )  # fmt: skip
    attempts = {task: config["metadata"]["attempts"] for task, config in results["configs"].items()}
    assert attempts == {"points24_ood": 1, "points24_ood_revise": 2, "points24_id_revise": 2}


def test_without_chat_template_it_is_refused():
    with pytest.raises(InputError, match="points24_ood_revise: several attempts need --apply_chat_template"):
        evaluate(Player(solver), [TASK], limit=1)


def test_the_lm_eval_command_refuses_in_one_line(tmp_path):
    command = [sys.executable, "-m", "lm_eval", "--model", "dummy", "--tasks", TASK, "--limit", "1"]
    command += ["--include_path", str(TASK_FILES)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert (
        run.stderr.splitlines()[-1] == f"points24: error: {TASK}: several attempts need --apply_chat_template"
    )
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    "cache", [{"cache_requests": True}, {"cache_requests": True, "rewrite_requests_cache": True}]
)
def test_caching_changes_nothing(tmp_path, monkeypatch, cache):
    monkeypatch.setattr("lm_eval.caching.cache.PATH", str(tmp_path))
    rows = [
        row_of(play(ChatPlayer(wins_at(2)), limit=limit, use_cache=str(tmp_path / "replies"), **cache))
        for limit in (8, 8, 4)
    ]
    for row in rows:
        assert (row["acc@1,strict-match"], row["acc@2,strict-match"]) == (0, 1)


@pytest.mark.parametrize("multiturn", [False, True])
def test_the_first_prompt_stays_as_it_was_with_examples_and_a_system_instruction(multiturn):
    lm = ChatPlayer(lambda messages: NOTHING)
    play(
        lm, {"attempts": 3}, limit=4, num_fewshot=2, fewshot_as_multiturn=multiturn,
        system_instruction="Think first.",
    )  # fmt: skip
    first, second, third = lm.batches
    assert all(messages[0] == {"role": "system", "content": "Think first."} for messages in first)
    assert {len(messages) for messages in first} == {6 if multiturn else 2}
    told = [{"role": "assistant", "content": NOTHING}, {"role": "user", "content": NOTHING_FOUND}]
    assert second == [messages + told for messages in first]
    assert third == [messages + told + told for messages in first]


def test_a_dialogue_ends_where_the_context_does(capsys):
    """The first deal gets long replies; without the limit, lm-eval would cut the cards off the prompt."""
    long = template().render(hand_set("ood").deals[0])
    lm = ChatPlayer(lambda messages: "?" * (1000 if question(messages) == long else 10))
    lm.max_length = 4000
    results = play(lm, limit=3)
    assert lm.limits == {2000}
    for place, sample in enumerate(samples(results, "strict-match")):
        (replies,) = sample["resps"]
        assert len(replies) == (2 if place == 0 else 5)
    assert all(len(json.dumps(messages)) <= 2000 for batch in lm.batches for messages in batch)
    assert f"{TASK}: 1 dialogues ended early" in capsys.readouterr().err


def test_another_wording_is_another_version_of_the_tasks():
    pinned = "272a5b0eec49887ef7e1e88d7423c2c60a4dcd7b18d5c9ea7bceaa79f7c5563e", "1.0"
    for task in ("points24_id_revise", "points24_ood_revise"):
        assert (WORDING, task_version(task)) == pinned


def test_a_chat_server_plays_all_attempts():
    with chat_server(wins_at(3)) as (arguments, requests):
        row = row_of(play("local-chat-completions", model_args=arguments))
    assert [row[f"acc@{k},strict-match"] for k in range(1, 6)] == [0, 0, 1, 1, 1]
    assert len(requests) == 24
    assert {len(request["messages"]) for request in requests} == {1, 3, 5}


def test_the_shipped_models_first_attempt_is_the_single_attempt_task():
    arguments = {"pretrained": str(model_folder("nano-base")), "dtype": "float32"}
    single, several = (
        evaluate(
            "hf",
            [task],
            model_args=arguments,
            device="cpu",
            batch_size=32,
            limit=48,
            apply_chat_template=True,
        )
        for task in ("points24_id", "points24_id_revise")
    )
    row, their = several["results"]["points24_id_revise"], single["results"]["points24_id"]
    pairs = list(zip(several["samples"]["points24_id_revise"], single["samples"]["points24_id"], strict=True))
    assert len(pairs) == 2 * 48
    for ours, theirs in pairs:
        assert (ours["doc_id"], ours["filter"]) == (theirs["doc_id"], theirs["filter"])
        assert ours["resps"][0][0] == theirs["resps"][0][0]
        assert ours["acc@1"] == theirs["acc"]
    for name in FILTERS:
        assert 0 < row[f"acc@1,{name}"] == their[f"acc,{name}"] < 1
        first = Counter(verdict for verdict, *_ in said(several, name, "points24_id_revise"))
        assert first == verdicts(single, "points24_id", name)
    assert {len(ours["resps"][0]) for ours, _ in pairs} >= {1, 5}
