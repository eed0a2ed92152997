"""Running the stages of an experiment: each one once, seeds side by side."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from points24.harness.cli import runnable
from points24.harness.executors import ending
from points24.harness.experiment.progress import Progress
from points24.harness.experiment.stages import Experiment, Stage
from points24.harness.files import discard_partial, locked, write_json
from points24.tasks.errors import InputError


def conduct(experiment: Experiment, workers: int = 1) -> None:
    """Run every stage that is not done; `workers` seeds run side by side.

    Raises:
        InputError: a stage failed, or was done with other settings. The stages that are done stay.
    """
    with locked(experiment.out):
        _conduct(experiment, workers)


def _conduct(experiment: Experiment, workers: int) -> None:
    for folder in ("stages", "logs"):
        (experiment.out / folder).mkdir(exist_ok=True)

    seeds = experiment.config.seeds
    progress = Progress(sum(1 for seed in seeds for _ in experiment.stages(seed)), unseen=workers > 1)

    def first_error(seed: int) -> str | None:
        """Run the stages of a seed up to the first that fails."""
        errors = (_run(experiment, stage, progress) for stage in experiment.stages(seed))
        return next(filter(None, errors), None)

    with ThreadPoolExecutor(workers) as pool, progress:
        try:
            failed = [error for error in pool.map(first_error, seeds) if error]
        except BaseException:  # the threads wait for the stages, and the pool for the threads
            pool.shutdown(wait=False, cancel_futures=True)
            ending.end_children()
            raise
    if failed:
        raise InputError(failed[0])


def _run(experiment: Experiment, stage: Stage, progress: Progress) -> str | None:
    """Run a stage unless it is done; its output goes to its log, its progress too where stages are unseen.

    Returns:
        The error in one line, if it failed.
    """
    done, command = experiment.done(stage.name), stage.command()
    started, given = done.with_suffix(".started"), {"command": command, "environment": experiment.environment}
    if done.exists():
        if not json.loads(done.read_text("utf-8")).items() >= given.items():
            return f"{done}: {stage.name} was done with other settings; choose another output_dir"
        progress.ends(stage.name)
        return None
    if stage.whole is not None and stage.whole.exists() and _reads(started, given):
        # A kill came just before the stage was noted as done.
        seconds = max(0.0, stage.whole.stat().st_mtime - started.stat().st_mtime)
    else:
        if stage.whole is not None:
            discard_partial(stage.whole)
        write_json(started, given)
        log, began = experiment.out / "logs" / f"{stage.name}.log", time.perf_counter()
        with log.open("ab") as output:
            progress.begins(stage.name, experiment.shown(command), log)
            status = ending.run(
                runnable(command),
                stdout=output,
                stderr=output if progress.unseen else None,
                env=os.environ | experiment.environment,
            )
        if status:
            return f"{stage.name} ended with status {status}: see {log}; the same command goes on from here"
        seconds = time.perf_counter() - began
    write_json(done, given | {"seconds": seconds}, indent=1)
    started.unlink(missing_ok=True)
    progress.ends(stage.name, seconds)
    return None


def _reads(path: Path, wanted: object) -> bool:
    return path.exists() and json.loads(path.read_text("utf-8")) == wanted
