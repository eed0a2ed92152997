"""Sweeps on a real SLURM and on two nodes of Ray that lose jobs give the records of one process."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from points24.harness.checkpoints.shipped import model_folder
from points24.harness.records.store import read_records
from tests.beyond import slurm
from tests.beyond.test_ray import cluster, lose_a_node
from tests.beyond.test_slurm import environment, order, queue
from tests.harness.sweep.conftest import perturbed, undated

__all__ = ["cluster", "environment"]
pytestmark = pytest.mark.slow


class Sweep:
    """``points24 sweep`` in a process of its own."""

    def __init__(
        self, recipe: Path, out: Path, environment: Mapping[str, str] | None = None, **settings: Any
    ):
        self.out = out
        given = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
        self.process = subprocess.Popen(
            [*COMMAND, str(recipe), f"output_dir={out}", *given],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def is_in_the_middle(self) -> bool:
        """Whether the first job is done and others are under way."""
        return len([job for job in self.out.glob("jobs/*") if job.is_dir()]) > 1

    def ended(self, seconds: float = 900) -> tuple[int, list[str]]:
        """Its exit status, and what it said of its jobs."""
        try:
            _, said = self.process.communicate(timeout=seconds)
        finally:
            self.process.kill()
        lines = [line for line in said.splitlines() if line.startswith("points24: ")]
        return self.process.returncode, [line for line in lines if "leaderboard" not in line]

    def records(self) -> list[dict[str, Any]]:
        return sorted(undated(read_records(self.out / "records")), key=str)


COMMAND = [sys.executable, "-m", "points24.harness.cli", "sweep"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    target = perturbed(folder / "target", 0.2)
    settings = {
        "pairs": [{"source": str(model_folder("nano-base")), "target": str(target)}],
        "grid": [{"ranks": ["top 20%", "top 60%"], "restore": "both"}],
        "output_dir": str(folder / "out"),
        "tasks": ["points24_ood"],
        "limit": 30,
        "model_args": {"dtype": "float32"},
        "device": "cpu",
        "gen_kwargs": {"max_gen_toks": 48},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    return folder / "recipe.yaml"


@pytest.fixture(scope="module")
def expected(recipe, tmp_path_factory) -> list[dict[str, Any]]:
    """The records of an undisturbed sweep in one process."""
    alone = Sweep(recipe, tmp_path_factory.mktemp("alone") / "out")
    assert alone.ended() == (0, [])
    return alone.records()


@pytest.mark.skipif(bool(slurm.missing()), reason="needs slurm-wlm and munge")
def test_on_slurm_with_a_job_requeued_and_another_cancelled(recipe, expected, tmp_path, environment):
    arguments = {"timeout_min": 60, "cpus_per_task": 1}
    settings: dict[str, Any] = {"executor": "slurm", "workers": 2, "executor_args": arguments}
    sweep = Sweep(recipe, tmp_path / "out", environment, **settings)
    slurm.until(sweep.is_in_the_middle, 600)
    jobs = sorted(queue(environment))
    order(environment, "scontrol", "requeue", jobs[-1])
    order(environment, "scancel", jobs[0])
    status, said = sweep.ended()
    assert status == 0, said
    assert sweep.records() == expected


def test_on_ray_with_a_node_lost(recipe, expected, tmp_path, cluster):
    settings: dict[str, Any] = {
        "executor": "ray",
        "workers": 2,
        "executor_args": {"address": cluster.address},
    }
    sweep = Sweep(recipe, tmp_path / "out", **settings)
    slurm.until(sweep.is_in_the_middle, 600)
    lose_a_node(cluster)
    status, said = sweep.ended()
    assert status == 0, said
    assert " failed: " in said[0]
    assert sweep.records() == expected
