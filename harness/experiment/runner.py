"""Running the stages of an experiment: each one once, seeds side by side."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from points24.harness.cli import runnable
from points24.harness.executors import ending
from points24.harness.experiment.progress import Progress
from points24.harness.experiment.stages import Experiment, Stage
from points24.harness.files import discard_partial, locked, write_json
from points24.tasks.errors import InputError


def conduct(experiments: Sequence[Experiment], workers: int = 1) -> None:
    """Run every stage that is not done; of all experiments together, `workers` seeds run side by side.

    Raises:
        InputError: a stage failed, or was done with other settings. The stages that are done stay.
    """
    with ExitStack() as stack:
        for each in experiments:
            stack.enter_context(locked(each.out))
        _conduct(experiments, workers)


def _conduct(experiments: Sequence[Experiment], workers: int) -> None:
    for each in experiments:
        for folder in ("stages", "logs"):
            (each.out / folder).mkdir(exist_ok=True)

    runs = [(each, each.stages(seed)) for each in experiments for seed in each.config.seeds]
    progress = Progress(sum(len(stages) for _, stages in runs), unseen=workers > 1)

    def first_error(run: tuple[Experiment, list[Stage]]) -> str | None:
        """Run the stages of a seed up to the first that fails."""
        experiment, stages = run
        where = experiment.out.relative_to(experiments[0].out)
        errors = (_run(experiment, stage, str(where / stage.name), progress) for stage in stages)
        return next(filter(None, errors), None)

    with ThreadPoolExecutor(workers) as pool, progress:
        try:
            failed = [error for error in pool.map(first_error, runs) if error]
        except BaseException:  # the threads wait for the stages, and the pool for the threads
            pool.shutdown(wait=False, cancel_futures=True)
            ending.end_children()
            raise
    if failed:
        raise InputError(failed[0])


def _run(experiment: Experiment, stage: Stage, shown: str, progress: Progress) -> str | None:
    """Run a stage unless it is done; its output goes to its log, its progress too where stages are unseen.

    Returns:
        The error in one line, if it failed.
    """
    done, command = experiment.done(stage.name), stage.command()
    started, given = done.with_suffix(".started"), {"command": command, "environment": experiment.environment}
    if done.exists():
        if not json.loads(done.read_text("utf-8")).items() >= given.items():
            return f"{done}: {shown} was done with other settings; choose another output_dir"
        progress.ends(shown)
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
            progress.begins(shown, experiment.shown(command), log)
            status = ending.run(
                runnable(command),
                stdout=output,
                stderr=output if progress.unseen else None,
                env=os.environ | experiment.environment,
            )
        if status:
            return f"{shown} ended with status {status}: see {log}; the same command goes on from here"
        seconds = time.perf_counter() - began
    write_json(done, given | {"seconds": seconds}, indent=1)
    started.unlink(missing_ok=True)
    progress.ends(shown, seconds)
    return None


def _reads(path: Path, wanted: object) -> bool:
    return path.exists() and json.loads(path.read_text("utf-8")) == wanted
