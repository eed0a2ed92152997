"""From lm-eval's real output to records; what is damaged is refused, and the rest is kept."""

import itertools
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from points24.harness.cli import main
from points24.harness.records.ingest import About, records_of
from points24.harness.records.lm_eval_output import runs
from points24.harness.records.store import add_records, read_records
from points24.tasks.cards import RULES
from points24.tasks.hand_sets import hand_set
from points24.tasks.prompts import template
from points24.tasks.verdict import FILTERS
from tests.leaderboards.conftest import LIMIT, record, write_output
from tests.tasks.test_lm_eval import memoriser, solver
from tests.tasks.test_revise import ChatPlayer, turn

_PROMPTS = [template().render(deal) for deal in hand_set("ood").deals[:12]]


def leaderboard(*words) -> int:
    return main(["leaderboard", *map(str, words)])


def ingest(home, *words) -> int:
    return leaderboard("ingest", "--dir", home, *words)


def edit(path, change) -> None:
    """Rewrites a JSON file, or the first row of a JSONL file."""
    first, line_break, rest = path.read_text().partition("\n" if path.suffix == ".jsonl" else "\0")
    value = json.loads(first)
    change(value)
    path.write_text(json.dumps(value) + line_break + rest)


def only(folder, pattern):
    (path,) = folder.rglob(pattern)
    return path


def test_a_run_becomes_a_record_per_filter(player_records):
    by_name = {(r.model, r.task, r.filter): r for r in player_records}
    assert len(by_name) == len(player_records) == 8
    won = by_name["solver", "points24_ood", "strict-match"]
    assert (won.k, won.n, won.outcomes) == (LIMIT, LIMIT, "1" * LIMIT)
    assert won.hand_set_digest == hand_set("ood", RULES["ood"]).digest
    assert won.decoding
    assert won.decoding["max_gen_toks"] == 512
    lost = by_name["memoriser", "points24_ood", "flexible-extract"]
    assert lost.k == 0
    assert lost.verdicts
    assert lost.verdicts["wrong_rule"] > LIMIT / 2


def test_a_model_folder_gives_weights_step_and_recipe_but_not_its_path(tmp_path, outputs):
    folder = tmp_path / "tuned" / "checkpoint-90"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    settings = {"seed": 1, "output_dir": "/home/me", "model_name_or_path": "/home/me/sft/checkpoint-9"}
    (folder / "training.json").write_text(json.dumps({"config": settings}))

    def rename(results):
        results["model_name"] = str(folder)
        results["config"]["model_args"] = {"pretrained": str(folder), "tokenizer": str(folder)}

    edit(only(outputs / "solver", "results_*.json"), rename)
    read = next(runs(outputs / "solver"))
    first = records_of(read(), About(parent="base"))[0]
    assert (first.model, first.step, first.parent) == ("tuned/checkpoint-90", 90, "base")
    assert first.recipe == {"seed": 1, "model_name_or_path": "sft/checkpoint-9"}
    assert first.weights_sha256
    assert str(tmp_path) not in first.line()
    assert "pretrained=tuned/checkpoint-90" in (first.command or "")

    made = {"source": "/home/me/early", "target": "late", "recipe": {"ranks": "top 20%"}}
    (folder / "recovery.json").write_text(json.dumps(made))  # beside the target's training.json
    assert records_of(read(), About())[0].recipe == {"source": "early", "target": "late", "ranks": "top 20%"}


def test_ingesting_twice_adds_once(tmp_path, outputs, capsys):
    assert ingest(tmp_path, outputs) == 0
    assert capsys.readouterr().out.count("added") == 8
    before = (tmp_path / "records" / "measured.jsonl").read_bytes()
    assert ingest(tmp_path, outputs) == 0
    assert capsys.readouterr().out.count("known") == 8
    assert (tmp_path / "records" / "measured.jsonl").read_bytes() == before


def test_two_processes_at_once_add_once(tmp_path, outputs):
    program = "import sys; from points24.harness.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "leaderboard", "ingest", "--dir", str(tmp_path), str(outputs)]
    writers = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(read_records(tmp_path / "records")) == 8


def test_a_training_run_brings_its_records_and_a_parent_once(tmp_path, capsys):
    weights = {name: {"weights_sha256": digit * 64} for name, digit in (("base", "0"), ("early", "1"))}
    base = record("1100", model="base", **weights["base"])
    early = {"model": "sft/checkpoint-5", "stage": "SFT", "step": 5, "parent": "base", **weights["early"]}
    late = {"model": "ppo/checkpoint-9", "stage": "PPO", "step": 9, "parent": "sft/checkpoint-5"}
    # PPO scores its parent again, later and without knowing its stage.
    again = record("1110", model="sft/checkpoint-5", date="2026-05-05T00:00:00Z", **weights["early"])
    add_records(tmp_path / "sft" / "records" / "curve.jsonl", [base, record("1110", **early)])
    add_records(tmp_path / "ppo" / "records" / "curve.jsonl", [again, record("1111", **late)])
    home = tmp_path / "home"
    for _ in range(2):
        assert ingest(home, tmp_path / "ppo", tmp_path / "sft") == 0
        found = [(r.model, r.stage) for r in read_records(home / "records")]
        assert sorted(found, key=str) == [
            ("base", None), ("ppo/checkpoint-9", "PPO"), ("sft/checkpoint-5", "SFT")
        ]  # fmt: skip
    assert ingest(home, tmp_path / "sft", "--stage", "base") == 2
    assert "a run's records state model, parent, stage and step already" in capsys.readouterr().err


def test_an_empty_folder_is_bad_input(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert ingest(tmp_path, tmp_path / "empty") == 2
    error = capsys.readouterr().err
    assert "no results_*.json below; lm_eval writes it with --output_path" in error
    assert error.count("\n") == 1


def test_without_samples_the_missing_flag_is_named_and_the_other_task_is_kept(tmp_path, outputs, capsys):
    only(outputs / "solver", "samples_points24_id_*").unlink()
    assert ingest(tmp_path, outputs / "solver") == 1
    captured = capsys.readouterr()
    assert "run lm_eval with --log_samples" in captured.err
    assert captured.err.count("\n") == 1
    assert {r.task for r in read_records(tmp_path / "records")} == {"points24_ood"}


def test_another_task_version_is_refused_but_can_be_judged_again(tmp_path, outputs, capsys):
    def older(results):
        for config in results["configs"].values():
            config["metadata"]["version"] = 0.9

    edit(only(outputs / "solver", "results_*.json"), older)
    assert ingest(tmp_path, outputs / "solver") == 2
    assert "points24_id has version 0.9, but 1.0 is installed" in capsys.readouterr().err
    assert not (tmp_path / "records" / "measured.jsonl").exists()
    assert leaderboard("rescore", "--dir", tmp_path, "--ingest", outputs / "solver") == 0
    assert {r.task_version for r in read_records(tmp_path / "records")} == {"1.0"}


def test_another_hand_set_is_refused(tmp_path, outputs, capsys):
    def other(results):
        results["configs"]["points24_id"]["metadata"]["hand_set_digest"] = "0" * 64

    edit(only(outputs / "solver", "results_*.json"), other)
    assert ingest(tmp_path, outputs / "solver") == 1
    assert "asked hand set 000000000000" in capsys.readouterr().err


@pytest.mark.parametrize("pattern", ["results_*.json", "samples_points24_id_*"])
def test_truncated_json_is_named_and_the_other_folder_is_kept(tmp_path, outputs, pattern, capsys):
    path = only(outputs / "solver", pattern)
    path.write_bytes(path.read_bytes()[:-200])
    assert ingest(tmp_path, outputs) == 1
    error = capsys.readouterr().err
    assert path.name in error
    assert error.count("\n") == 1
    assert {r.model for r in read_records(tmp_path / "records")} >= {"memoriser"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda row: row.update(doc_id=3), "line 1: deal 3 is not the hand set's"),
        (lambda row: row.update(doc_id=-1), "line 1: doc_id: expected 0 to 1235, found -1"),
        (lambda row: row.update(doc_id="0"), "line 1: doc_id: expected 0 to 1235, found '0'"),
        (lambda row: row["doc"].update(cards=["2", "2", "2", "3"]), "line 1: deal 0 is not the hand set's"),
        (lambda row: row.pop("resps"), "line 1: missing 'resps'"),
        (lambda row: row.update(filter="mine"), "line 1: filter: expected strict-match"),
        (lambda row: row.update(filtered_resps=["24"]), "line 1: "),
        (lambda row: row.update(filtered_resps=["[]"]), "line 1: 1 replies, of which 0 are judged"),
        (lambda row: row.update(filtered_resps=['{"verdict": "fine"}']), "line 1: 'fine' is not a valid"),
    ],
)
def test_samples_that_cannot_be_trusted_are_refused(tmp_path, outputs, change, why, capsys):
    edit(only(outputs / "solver", "samples_points24_id_*"), change)
    assert ingest(tmp_path, outputs / "solver") == 1
    assert why in capsys.readouterr().err


def test_the_command_of_a_record_has_the_gen_kwargs(tmp_path, outputs):
    given = {"do_sample": False, "max_gen_toks": 64}
    edit(
        only(outputs / "solver", "results_*.json"), lambda results: results["config"].update(gen_kwargs=given)
    )
    assert ingest(tmp_path, outputs / "solver") == 0
    for made in read_records(tmp_path / "records"):
        assert made.command
        words = shlex.split(made.command)
        assert json.loads(words[words.index("--gen_kwargs") + 1]) == given


def test_rows_of_several_processes_are_put_in_order(tmp_path, outputs):
    samples = only(outputs / "solver", "samples_points24_id_*")
    assert ingest(tmp_path / "alone", outputs / "solver") == 0
    rows = [json.loads(line) for line in samples.read_text("utf-8").splitlines()]
    by_rank = [row for rank in (0, 1) for row in rows if row["doc_id"] % 2 == rank]
    assert by_rank != rows
    samples.write_text("".join(json.dumps(row) + "\n" for row in by_rank), "utf-8")
    assert ingest(tmp_path / "shared", outputs / "solver") == 0
    alone, shared = (
        {record.filter: record.outcomes for record in read_records(tmp_path / folder / "records")}
        for folder in ("alone", "shared")
    )
    assert alone == shared


@pytest.mark.parametrize("change", [lambda rows: [*rows, rows[0]], lambda rows: rows[:-1]])
def test_deals_that_are_missing_or_doubled_are_refused(tmp_path, outputs, change, capsys):
    samples = only(outputs / "solver", "samples_points24_id_*")
    samples.write_text("".join(change(samples.read_text("utf-8").splitlines(keepends=True))), "utf-8")
    assert ingest(tmp_path, outputs / "solver") == 1
    assert "deal" in capsys.readouterr().err


def test_output_of_predict_only_is_read_from_its_samples(tmp_path, outputs):
    def only_predicted(results):
        results["results"]["points24_id"] = {f"bypass,{name}": 999 for name in FILTERS}

    edit(only(outputs / "solver", "results_*.json"), only_predicted)
    assert ingest(tmp_path, outputs / "solver") == 0


def test_samples_that_contradict_the_results_are_refused(tmp_path, outputs, capsys):
    def claim(results):
        results["results"]["points24_id"]["acc,strict-match"] = 0.5

    edit(only(outputs / "solver", "results_*.json"), claim)
    assert ingest(tmp_path, outputs / "solver") == 1
    assert "results say acc 0.500000, samples 1.000000" in capsys.readouterr().err


def test_results_without_our_tasks_are_refused(tmp_path, outputs, capsys):
    edit(only(outputs / "solver", "results_*.json"), lambda results: results.update(configs={"gsm8k": {}}))
    assert ingest(tmp_path, outputs / "solver") == 2
    assert "no points24 task in its 1 results_*.json" in capsys.readouterr().err


def test_rescoring_finds_a_verdict_that_the_present_checker_would_not_give(tmp_path, outputs, capsys):
    def wrong(row):
        row["filtered_resps"] = [json.dumps({"verdict": "illegal", "reason": "none", "truncated": False})]

    edit(only(outputs / "solver", "samples_points24_id_*"), wrong)
    assert leaderboard("rescore", "--json", outputs / "solver") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sum(row["changed_verdicts"] for row in rows) == 1
    assert {row["k"] for row in rows} == {LIMIT}
    assert sorted(row["k_before"] for row in rows) == [LIMIT - 1, LIMIT, LIMIT, LIMIT]


def test_replays_with_repeated_hands_are_ingested(tmp_path):
    write_output(tmp_path / "out", memoriser, tasks=("points24_ood_paper",), limit=10)
    assert ingest(tmp_path, tmp_path / "out") == 0
    assert {r.hand_set for r in read_records(tmp_path / "records")} == {"ood_paper"}


KILLS = 100


@pytest.mark.slow
@pytest.mark.parametrize("step", ["ingest", "build"])
def test_killing_at_random_moments_leaves_whole_lines_and_whole_tables(tmp_path, outputs, step):
    """Forked children with everything loaded, so that the kill falls into the work and not into imports."""
    assert ingest(tmp_path, outputs) == 0
    assert leaderboard("build", "--dir", tmp_path) == 0
    extra = tmp_path / "records" / "extra.jsonl"
    others = [replace(each, model=f"other-{each.model}") for each in read_records(tmp_path / "records")]
    lines = "".join(f"{each.line()}\n" for each in others)
    chance, longest, killed = random.Random(0), 0.0, 0
    for attempt in itertools.count():
        if killed == KILLS:
            break
        # The tables change from build to build, so that each has something to write.
        extra.unlink(missing_ok=True) if attempt % 2 else extra.write_text(lines)
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            words = ["--model", f"model-{attempt}", outputs] if step == "ingest" else []
            os._exit(leaderboard(step, "--dir", tmp_path, *words))
        if attempt:
            time.sleep(chance.uniform(0, longest))
            os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        if not attempt:
            longest = time.monotonic() - started
        # All eight records of a run, or none of them.
        assert len(read_records(tmp_path / "records")) % 8 == 0
        made = tmp_path / "generated"
        assert (made / "index.html").read_text().endswith("</html>\n")
        assert (made / "README.md").read_text().endswith(".tex).\n")
        assert all(path.read_text().endswith("tabular}\n") for path in made.glob("tables/*.tex"))
    assert ingest(tmp_path, outputs) == 0
    assert leaderboard("build", "--dir", tmp_path) == 0
    assert leaderboard("check", "--dir", tmp_path) == 0
    assert not list(tmp_path.rglob("*.partial"))


def revising(messages) -> str:
    """Wins every third deal at once, every third after one message, and every third never."""
    prompt = messages[0]["content"]
    kind = _PROMPTS.index(prompt) % 3
    return solver(prompt) if kind < turn(messages) and kind < 2 else "no idea"


@pytest.fixture
def dialogues(tmp_path):
    """An output folder with 12 deals of `points24_ood_revise`."""
    write_output(
        tmp_path / "out", revising, ("points24_ood_revise",), ChatPlayer, limit=12, apply_chat_template=True
    )
    return tmp_path / "out"


def test_several_attempts_become_records_with_a_table_of_their_own(tmp_path, dialogues):
    write_output(tmp_path / "once", solver, tasks=("points24_ood",), limit=12)
    assert ingest(tmp_path, dialogues, tmp_path / "once") == 0
    records = [r for r in read_records(tmp_path / "records") if r.task == "points24_ood_revise"]
    assert {r.filter for r in records} == set(FILTERS)
    for found in records:
        assert (found.attempts, found.k, found.n, found.outcomes) == (5, 8, 12, "110" * 4)
        assert found.verdicts == dict.fromkeys(map(str, found.verdicts or {}), 0) | {
            "correct": 8,
            "no_answer": 4,
        }
    assert leaderboard("build", "--dir", tmp_path) == 0
    tables = (tmp_path / "generated" / "README.md").read_text()
    assert tables.count("protocol: up to 5 attempts with feedback") == 2
    assert tables.count("protocol: single attempt") == 2


def test_fewer_attempts_are_another_protocol_and_stand_in_the_command(tmp_path):
    write_output(
        tmp_path / "out", revising, ("points24_ood_revise",), ChatPlayer,
        limit=3, apply_chat_template=True, metadata={"attempts": 1},
    )  # fmt: skip
    assert ingest(tmp_path, tmp_path / "out") == 0
    for found in read_records(tmp_path / "records"):
        assert (found.attempts, found.outcomes) == (1, "100")
        assert "--metadata attempts=1" in (found.command or "")


def test_dialogues_are_judged_again_reply_by_reply(tmp_path, dialogues, capsys):
    assert leaderboard("rescore", "--dir", tmp_path, "--json", "--ingest", dialogues) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["k_before"], row["k"], row["changed_verdicts"]) for row in rows] == [(8, 8, 0)] * 2
    ours = {record.key for record in read_records(tmp_path / "records")}
    assert ingest(tmp_path, dialogues) == 0
    assert {record.key for record in read_records(tmp_path / "records")} == ours


def rejudged(place, change):
    """A change of the samples' row of a deal: what the verifier made of its replies."""

    def edit_rows(path):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        row = next(r for r in rows if r["doc_id"] == place and r["filter"] == "strict-match")
        judged = json.loads(row["filtered_resps"][0])
        change(judged, row)
        row["filtered_resps"] = [json.dumps(judged)]
        path.write_text("\n".join(map(json.dumps, rows)) + "\n")

    return edit_rows


def test_a_dialogue_that_would_be_over_earlier_today_is_cut_there(dialogues, capsys):
    def was_refused(judged, row):  # the second of five replies is right, and was not taken
        (replies,) = row["resps"]
        replies[1:] = [solver(_PROMPTS[2]), *replies[2:]]

    rejudged(2, was_refused)(only(dialogues, "samples_*"))
    assert leaderboard("rescore", "--json", dialogues) == 0
    rows = {row["filter"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert (rows["strict-match"]["k_before"], rows["strict-match"]["k"]) == (8, 9)


@pytest.mark.parametrize(
    ("place", "number", "then"),
    [
        (0, 1, {"verdict": "correct", "reason": "equals 24"}),
        (2, 3, {"verdict": "illegal", "reason": "not a legal formula: it is empty"}),
    ],
)
def test_a_dialogue_that_would_go_elsewhere_today_is_refused(dialogues, place, number, then, capsys):
    def otherwise(judged, row):
        judged[number - 1] |= then
        row["resps"][0][number - 1] = "no idea"

    rejudged(place, otherwise)(only(dialogues, "samples_*"))
    assert leaderboard("rescore", dialogues) == 2
    error = capsys.readouterr().err
    assert f"deal {place}: the verifier would now answer reply {number} differently" in error
    assert error.count("\n") == 1


def test_another_wording_of_the_verifier_is_refused(tmp_path, dialogues, capsys):
    def other(results):
        results["configs"]["points24_ood_revise"]["metadata"]["feedback_digest"] = "0" * 64

    edit(only(dialogues, "results_*.json"), other)
    assert ingest(tmp_path, dialogues) == 2
    assert "used the verifier's wording 000000000000…" in capsys.readouterr().err
