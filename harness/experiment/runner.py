"""Running the stages of an experiment: each one once, seeds side by side."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from points24.harness.cli import runnable
from points24.harness.experiment.stages import Experiment, Stage
from points24.harness.files import write_json
from points24.tasks.errors import InputError


def conduct(experiment: Experiment, workers: int = 1, only: Sequence[str] = ()) -> None:
    """Run every stage that is not done.

    Args:
        experiment: what to run.
        workers: how many seeds run side by side.
        only: kinds of stages (sft, ppo, drift, sweep, 2x2) to run; none means all.

    Raises:
        InputError: a stage failed, or was done with other settings. The stages that are done stay.
    """
    for folder in ("stages", "logs"):
        (experiment.out / folder).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(workers) as pool:
        errors = pool.map(lambda seed: _run_seed(experiment, seed, workers, only), experiment.config.seeds)
        failed = [error for error in errors if error]
    if failed:
        raise InputError(failed[0])


def _run_seed(experiment: Experiment, seed: int, workers: int, only: Sequence[str]) -> str | None:
    """Run the stages of a seed up to the first that fails; returns the error in one line."""
    for stage in experiment.stages(seed):
        if only and stage.kind not in only:
            continue
        if error := _run_stage(experiment, stage, quiet=workers > 1):
            return error
    return None


def _run_stage(experiment: Experiment, stage: Stage, *, quiet: bool) -> str | None:
    """Run a stage unless it is done; its progress goes to its log, or to standard error."""
    done, command = experiment.done(stage.name), stage.command()
    given = {"command": command, "environment": experiment.environment}
    if done.exists():
        same = json.loads(done.read_text("utf-8")).items() >= given.items()
        return (
            None if same else f"{done}: {stage.name} was done with other settings; choose another output_dir"
        )
    if stage.leftover is not None:
        shutil.rmtree(stage.leftover, ignore_errors=True)
    print(f"points24: {stage.name}: {experiment.shown(command)}", file=sys.stderr, flush=True)
    log = experiment.out / "logs" / f"{stage.name}.log"
    began = time.perf_counter()
    with log.open("ab") as output:
        run = subprocess.run(
            runnable(command),
            stdout=output,
            stderr=output if quiet else None,
            env=os.environ | experiment.environment,
            check=False,
        )
    if run.returncode:
        return (
            f"{stage.name} ended with status {run.returncode}: see {log}; the same command goes on from here"
        )
    write_json(done, given | {"seconds": time.perf_counter() - began}, indent=1)
    return None
