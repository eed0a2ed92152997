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
    """Run every stage that is not done, or those of some kinds alone; `workers` seeds run side by side.

    Raises:
        InputError: a stage failed, or was done with other settings. The stages that are done stay.
    """
    for folder in ("stages", "logs"):
        (experiment.out / folder).mkdir(parents=True, exist_ok=True)

    def first_error(seed: int) -> str | None:
        """Run the stages of a seed up to the first that fails."""
        stages = [stage for stage in experiment.stages(seed) if not only or stage.kind in only]
        return next(filter(None, (_run(experiment, stage, quiet=workers > 1) for stage in stages)), None)

    with ThreadPoolExecutor(workers) as pool:
        failed = [error for error in pool.map(first_error, experiment.config.seeds) if error]
    if failed:
        raise InputError(failed[0])


def _run(experiment: Experiment, stage: Stage, *, quiet: bool) -> str | None:
    """Run a stage unless it is done; its progress goes to its log, or to standard error.

    Returns:
        The error in one line, if it failed.
    """
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
