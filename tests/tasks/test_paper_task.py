"""The paper's measurement inside lm-eval, played from a file whose outcome is worked out by hand."""

import json

import pytest
from transformers import GenerationConfig

from points24.harness.evaluation.score import score
from points24.harness.records.ingest import About, check_against_results, records_of, rescored
from points24.harness.records.lm_eval_output import runs
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import hand_set
from points24.tasks.lm_eval.decoding import decoding_of, model_decoding
from points24.tasks.protocols.protocol import read_protocol
from points24.tasks.solver import solutions
from points24.tasks.verdict import judge
from tests.tasks.test_lm_eval import evaluate, judged
from tests.tasks.test_revise import ChatPlayer

PAPERS = read_protocol("paper")
GREEDY = {"decoding": "greedy"}
NOTHING = "I do not know."


class FilePlayer(ChatPlayer):
    """Replies from the lines of a file, {"deal", "attempt", "reply"}; anything else it does not know."""

    def __init__(self, path):
        super().__init__(None)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        self.script = {(line["deal"], line["attempt"]): line["reply"] for line in lines}

    def generate_until(self, requests, disable_tqdm=False):
        self.batches.append([json.loads(request.args[0]) for request in requests])
        self.limits |= {request.args[1]["max_gen_toks"] for request in requests}
        attempt = len(self.batches)
        return [self.script.get((request.doc_id, attempt), NOTHING) for request in requests]


def script(rule):
    """Six kinds of deals in turn, 39 each of the 234; the comments say at which attempt which filter takes them.

    The paper's layout is no JSON, so strict-match never takes it; paper-match takes no blanks and no single
    quotes. A dialogue goes on until paper-match takes a reply.
    """
    for place, deal in enumerate(hand_set(f"{rule}_paper").deals):
        right = next(f for f in solutions(deal.values, 24) if judge(deal, f).correct_in_floats)
        layout = PAPERS.reply(deal, right)
        blanks = json.dumps({"cards": deal.cards, "number": deal.values, "formula": f" {right} "})
        quotes = layout.replace(f'"{right}=24"', f"'{right}'")
        yield from {
            0: [(place, 1, layout)],  # paper 1, strict never, flexible 1
            1: [(place, 1, blanks), (place, 2, layout)],  # paper 2, strict 1, flexible 1
            2: [(place, attempt, quotes) for attempt in range(1, 6)],  # paper never, strict never, flexible 1
            3: [(place, 5, layout)],  # paper 5, strict never, flexible 5
            4: [(place, 6, layout)],  # never: a sixth reply is not asked for
            5: [(place, attempt, blanks) for attempt in range(1, 6)],  # paper never, strict 1, flexible 1
        }[place % 6]


@pytest.fixture
def player(tmp_path):
    def play(rule):
        keys = ("deal", "attempt", "reply")
        path = tmp_path / f"{rule}.jsonl"
        path.write_text("".join(json.dumps(dict(zip(keys, row, strict=True))) + "\n" for row in script(rule)))
        return FilePlayer(path)

    return play


@pytest.mark.parametrize("rule", ["id", "ood"])
def test_a_player_from_a_file_wins_as_many_of_the_234_as_worked_out_by_hand(player, rule):
    lm, task = player(rule), f"points24_{rule}_paper_revise"
    results = evaluate(lm, [task], GREEDY, apply_chat_template=True)
    row = results["results"][task]
    counts = {
        name: [round(234 * row[f"acc@{k},{name}"]) for k in range(1, 6)] for name in PAPERS.filters
    }  # fmt: skip
    assert counts == {
        "paper-match": [39, 78, 78, 78, 117],
        "strict-match": [78, 78, 78, 78, 78],
        "flexible-extract": [156, 156, 156, 156, 195],
    }
    for name, found in counts.items():
        assert round(234 * row[f"acc,{name}"]) == found[-1]
        assert [round(234 * row[f"acc_float@{k},{name}"]) for k in range(1, 6)] == found
    assert [len(batch) for batch in lm.batches] == [234, 195, 156, 156, 156]
    assert lm.limits == {256}


def test_the_float_checker_counts_apart(tmp_path):
    """On {8, Q, Q, 3} the list's (8/10)*3*10 is right, but no float: the dialogue goes on, and acc counts it."""
    deals = hand_set("id_paper").deals
    exact = {}
    for place, deal in enumerate(deals):
        if f := next((f for f in solutions(deal.values, 24) if not judge(deal, f).correct_in_floats), None):
            exact[place] = json.dumps({"formula": f})
    assert exact
    first = min(exact)
    path = tmp_path / "replies.jsonl"
    path.write_text(json.dumps({"deal": first, "attempt": 2, "reply": exact[first]}) + "\n")
    lm = FilePlayer(path)
    row = evaluate(lm, ["points24_id_paper_revise"], GREEDY, apply_chat_template=True, limit=first + 1)[
        "results"
    ]["points24_id_paper_revise"]
    n = first + 1
    assert [round(n * row[f"{name},paper-match"]) for name in ("acc", "acc@1", "acc_float")] == [1, 0, 0]
    assert len(lm.batches) == 5


def test_the_verifier_answers_in_the_papers_structure(player):
    lm = player("ood")
    evaluate(lm, ["points24_ood_paper_revise"], GREEDY, apply_chat_template=True, limit=2)
    (question,) = lm.batches[0][1]
    assert question["content"] == PAPERS.prompt.render(hand_set("ood_paper").deals[1])
    *_, told = lm.batches[1][0]  # the first deal was won at once
    refused = "That try did not succeed: the formula has a character that is not allowed."
    assert told == {"role": "user", "content": refused}


def test_records_hold_the_protocol_and_the_outcomes_of_both_attempts_and_checkers(player, tmp_path):
    records = score(
        player("ood"), ["points24_ood_paper_revise"], tmp_path / "out", About(model="a-model"),
        model="dummy", model_args={"pretrained": "a-model"}, batch_size=1, apply_chat_template=True,
        limit=12, metadata=GREEDY,
    )  # fmt: skip
    assert [record.filter for record in records] == list(PAPERS.filters)
    paper = records[0]
    assert (paper.protocol, paper.protocol_digest, paper.attempts) == ("paper", PAPERS.digest, 5)
    assert (paper.first_outcomes, paper.outcomes) == ("100000" * 2, "110100" * 2)
    assert (paper.float_first_outcomes, paper.float_outcomes) == ("100000" * 2, "110100" * 2)
    assert paper.decoding == {"max_gen_toks": 256, "until": [], "do_sample": False, "temperature": 0.0}
    assert "--metadata decoding=greedy" in (paper.command or "")
    (read,) = runs(tmp_path / "out")
    check_against_results(read())
    assert [record.key for record in records_of(rescored(read()), About(model="a-model"))] == [
        record.key for record in records
    ]


def test_any_task_takes_the_protocol_and_a_folder_of_ones_own(tmp_path):
    (tmp_path / "protocol.yaml").write_text(PAPERS.settings_text().replace("name: paper", "name: mine"))
    (tmp_path / "prompt.jinja").write_text("Play {{ cards }} by {{ rule }}.")
    for protocol, first in (("paper", "[Task]"), (str(tmp_path), "Play [")):
        lm = ChatPlayer(lambda messages: '"formula": "1+1"')
        results = evaluate(
            lm, ["points24_ood"], {"protocol": protocol, **GREEDY}, apply_chat_template=True, limit=2
        )
        metadata = results["configs"]["points24_ood"]["metadata"]
        assert metadata["protocol_digest"] == read_protocol(protocol).digest
        assert metadata["protocol"] == read_protocol(protocol).name
        assert lm.batches[0][0][0]["content"].startswith(first)
        assert [found["verdict"] for found in judged(results, "points24_ood", "paper-match")] == [
            "wrong_numbers"
        ] * 2
        assert results["results"]["points24_ood"]["acc_float,paper-match"] == 0


class Sampler(ChatPlayer):
    """A player whose model has a generation config, as transformers keeps it."""

    def __init__(self, **settings):
        super().__init__(lambda messages: NOTHING)
        self.model = type("Model", (), {"generation_config": GenerationConfig(**settings)})()


@pytest.mark.parametrize(
    ("settings", "decoding"),
    [
        ({}, {"do_sample": False, "temperature": 0.0}),
        ({"temperature": 0.6}, {"do_sample": False, "temperature": 0.0}),
        (
            {"do_sample": True, "temperature": 0.6, "top_p": 0.9},
            {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 50},
        ),
        (
            {"do_sample": True, "top_k": 20, "repetition_penalty": 1.05},
            {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 20, "repetition_penalty": 1.05},
        ),
    ],
)
def test_a_model_decodes_as_transformers_would_by_itself(settings, decoding):
    assert model_decoding(Sampler(**settings), {"until": []}, "a task") == decoding
    assert model_decoding(Sampler(**settings), {"temperature": 0.2}, "a task") == {}


def test_results_say_how_it_was_decoded():
    def used(**more):
        results = evaluate(
            Sampler(do_sample=True, temperature=0.6), ["points24_id_paper_revise"], limit=1,
            apply_chat_template=True, **more,
        )  # fmt: skip
        made = results["configs"]["points24_id_paper_revise"]["generation_kwargs"]
        return {key: value for key, value in made.items() if key not in ("until", "max_gen_toks")}

    assert used() == {"do_sample": True, "temperature": 0.6, "top_p": 1.0, "top_k": 50}
    assert used(gen_kwargs={"do_sample": True, "temperature": 0.2}) == {"do_sample": True, "temperature": 0.2}


def test_decoding_that_nobody_knows_is_refused():
    with pytest.raises(InputError, match="own decoding cannot be read from ChatPlayer; say how"):
        model_decoding(ChatPlayer(None), {}, "a task")
    with pytest.raises(InputError, match="own decoding cannot be read without --apply_chat_template"):
        model_decoding(None, {}, "a task")
    with pytest.raises(InputError, match="decoding: expected greedy or model, found 'beam'"):
        decoding_of({"decoding": "beam"}, PAPERS)
