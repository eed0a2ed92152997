"""lm-eval's real output for players whose replies are known, and records made by hand."""

import shutil
from pathlib import Path

import pytest
from lm_eval.loggers import EvaluationTracker

from points24.harness.records.ingest import About, records_of
from points24.harness.records.lm_eval_output import runs
from points24.harness.records.record import SCHEMA, record_of
from points24.tasks.cards import RULES
from points24.tasks.hand_sets import hand_set
from points24.tasks.lm_eval.files import task_version
from points24.tasks.prompts import template
from points24.tasks.protocols.protocol import read_protocol
from tests.tasks.test_lm_eval import Player, evaluate, memoriser, solver

LIMIT = 40


def write_output(
    folder: Path, play, tasks=("points24_id", "points24_ood"), player: type[Player] = Player, **kwargs
) -> None:
    """What ``lm_eval --output_path FOLDER --log_samples`` writes."""
    tracker = EvaluationTracker(output_path=str(folder))
    tracker.general_config_tracker.log_experiment_args(
        model_source="player", model_args=f"pretrained={play.__name__}", system_instruction=None,
        chat_template=None, fewshot_as_multiturn=False,
    )  # fmt: skip
    results = evaluate(player(play), list(tasks), log_samples=True, **kwargs)
    samples = results.pop("samples")
    results["config"]["model"] = "player"
    tracker.save_results_aggregated(results=results, samples=samples)
    for task in tasks:
        tracker.save_results_samples(task_name=task, samples=samples[task])


@pytest.fixture(scope="session")
def _outputs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lm_eval")
    for play in (solver, memoriser):
        write_output(folder / play.__name__, play, limit=LIMIT)
    return folder


@pytest.fixture
def outputs(_outputs, tmp_path) -> Path:
    """Output folders `solver` and `memoriser`, of the first 40 deals of ID and OOD, to be damaged at will."""
    return Path(shutil.copytree(_outputs, tmp_path / "outputs"))


@pytest.fixture
def player_records(outputs):
    """The records of both players."""
    return [record for read in runs(outputs) for record in records_of(read(), About())]


def row(outcomes="1100", **changes) -> dict:
    """A measured record of the first deals of `ood`, as the JSON object of its line."""
    hands = hand_set("ood", RULES["ood"])
    k = outcomes.count("1")
    return {
        "schema": SCHEMA,
        "status": "measured",
        "model": "a-model",
        "task": "points24_ood",
        "task_version": task_version("points24_ood"),
        "hand_set": "ood",
        "rule": "ood",
        "hand_set_digest": hands.digest,
        "protocol_digest": read_protocol("points24").digest,
        "template_digest": template().digest,
        "attempts": 1,
        "decoding": {"do_sample": False},
        "engine": "hf",
        "filter": "strict-match",
        "k": k,
        "n": len(outcomes),
        "verdicts": {"correct": k, "wrong_value": len(outcomes) - k},
        "truncated": 0,
        "outcomes": outcomes,
        "date": "2026-01-31T12:00:00Z",
    } | changes


def record(outcomes="1100", **changes):
    return record_of(row(outcomes, **changes))


def reported(k, n, **changes):
    about = {"schema": SCHEMA, "status": "reported", "model": "theirs", "source": "a paper", "attempts": 5}
    return record_of(about | {"hand_set": "ood_paper", "rule": "ood", "k": k, "n": n} | changes)
