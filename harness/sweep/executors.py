"""Where the jobs run: in this process, on SLURM (submitit), or on Ray. Another executor is one function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from points24.harness.sweep.config import ScoringConfig
from points24.harness.sweep.jobs import Job
from points24.tasks.errors import InputError

Work = Callable[[ScoringConfig, Sequence[Job]], None]


def execute(work: Work, config: ScoringConfig, shares: Sequence[Sequence[Job]]) -> None:
    """Run the work on every share by the configured executor; return when all have ended, well or not.

    Workers leave what they have done on a disk that all of them share.

    Raises:
        InputError: the executor is not installed or refuses its arguments, or the work in this process
            raised it.
    """
    {"local": _local, "slurm": _slurm, "ray": _ray}[config.executor](work, config, shares)


def _local(work: Work, config: ScoringConfig, shares: Sequence[Sequence[Job]]) -> None:
    work(config, [job for share in shares for job in share])  # one engine for all of them


def _slurm(work: Work, config: ScoringConfig, shares: Sequence[Sequence[Job]]) -> None:
    try:
        import submitit
    except ModuleNotFoundError as e:
        raise InputError("executor slurm: submitit is not installed: pip install 'points24[slurm]'") from e
    arguments = dict(config.executor_args)
    try:
        executor = submitit.AutoExecutor(
            Path(config.output_dir) / "slurm", cluster=arguments.pop("cluster", None)
        )
        executor.update_parameters(name="points24", slurm_array_parallelism=config.workers, **arguments)
    except (RuntimeError, ValueError, TypeError, NameError, AssertionError) as e:  # submitit's own checks
        raise InputError(f"executor_args: {e}") from e
    jobs = executor.map_array(work, [config] * len(shares), shares)
    for job in submitit.helpers.as_completed(jobs, poll_frequency=1):
        _tell(f"SLURM job {job.job_id}", job.exception(), f"see {job.paths.stderr}")


def _ray(work: Work, config: ScoringConfig, shares: Sequence[Sequence[Job]]) -> None:
    try:
        import ray
        from ray.exceptions import RayError
    except ModuleNotFoundError as e:
        raise InputError("executor ray: ray is not installed: pip install 'points24[ray]'") from e
    arguments = dict(config.executor_args)
    address = arguments.pop("address", None)
    started = not ray.is_initialized()
    if started:
        ray.init(address=address, num_cpus=None if address else config.workers, log_to_driver=True)
    try:
        task = ray.remote(work).options(**({"max_retries": 0} | arguments))
        waiting = {task.remote(config, share): number for number, share in enumerate(shares)}
        while waiting:
            for done in ray.wait(list(waiting))[0]:
                try:
                    error = ray.get(done)
                except RayError as e:
                    error = e
                _tell(f"Ray task {waiting.pop(done)}", error, "")
    except (ValueError, TypeError) as e:
        raise InputError(f"executor_args: {e}") from e
    finally:
        if started:
            ray.shutdown()


def _tell(who: str, error: Any, where: str) -> None:
    """Report a worker that failed. The others go on; the jobs that it left are tried again."""
    if error:
        line = next(
            (line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__
        )
        print(f"points24: {who} failed: {line.strip()[:300]} {where}".rstrip(), file=sys.stderr)
