"""On SLURM, by submitit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from points24.harness.executors.workers import C, T, Work, Workers, tell
from points24.tasks.errors import InputError


def run(workers: Workers, work: Work[C, T], common: C, shares: Sequence[Sequence[T]], folder: Path) -> None:
    try:
        import submitit
    except ModuleNotFoundError as e:
        raise InputError("executor slurm: submitit is not installed: pip install 'points24[slurm]'") from e
    arguments = dict(workers.arguments)
    try:
        executor = submitit.AutoExecutor(folder, cluster=arguments.pop("cluster", None))
        executor.update_parameters(name="points24", slurm_array_parallelism=workers.count, **arguments)
    except (RuntimeError, ValueError, TypeError, NameError, AssertionError) as e:  # submitit's own checks
        raise InputError(f"executor_args: {e}") from e
    jobs = executor.map_array(work, [common] * len(shares), shares)
    for job in submitit.helpers.as_completed(jobs, poll_frequency=1):
        tell(f"SLURM job {job.job_id}", job.exception(), f"see {job.paths.stderr}")
