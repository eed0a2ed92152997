"""Where work runs: in this process or others beside it, on SLURM (submitit), or on Ray.

Another executor is one function in the table at the end.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, TypeVar

from points24.tasks.errors import InputError

C = TypeVar("C")
T = TypeVar("T")
Work = Callable[[C, Sequence[T]], None]
"""A function of a module: (what all shares have in common, a share of the items)."""


@dataclass(frozen=True)
class Workers:
    """Who does the work."""

    executor: str = "local"
    """One of `EXECUTORS`."""
    count: int = 1
    """Processes side by side."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of submitit (``slurm_partition``, ``gpus_per_node``, …; ``cluster: local`` needs no SLURM)
    or options of Ray's tasks (``num_gpus``, …; ``address`` of a cluster)."""

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise InputError(f"executor: expected {' or '.join(EXECUTORS)}, found {self.executor!r}")
        if self.count < 1:
            raise InputError(f"workers: expected at least 1, found {self.count}")
        if self.executor == "local" and self.arguments:
            raise InputError("executor_args go with executor slurm or ray")

    def execute(self, work: Work[C, T], common: C, shares: Sequence[Sequence[T]], folder: Path) -> None:
        """Run the work on every share; return when all have ended, well or not.

        Workers leave what they have done on a disk that all of them share. `folder` takes SLURM's logs.

        Raises:
            InputError: the executor is not installed or refuses its arguments, or the work in this process
                raised it.
        """
        EXECUTORS[self.executor](self, work, common, shares, folder)


def _local(workers: Workers, work: Any, common: Any, shares: Sequence[Sequence[Any]], _folder: Path) -> None:
    if workers.count == 1:
        work(common, [item for share in shares for item in share])  # one engine, say, for all of them
        return
    # Read when a process starts: threads that wait for each other would cost more than they give.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers.count)))
    spawn = multiprocessing.get_context("spawn")
    waiting, running = list(shares), {}
    while waiting or running:
        while waiting and len(running) < workers.count:
            process = spawn.Process(target=work, args=(common, waiting.pop(0)))
            process.start()
            running[process.sentinel] = process
        for sentinel in wait(list(running)):
            process = running.pop(sentinel)
            process.join()
            _tell(f"process {process.pid}", process.exitcode and f"exit status {process.exitcode}", "")


def _slurm(workers: Workers, work: Any, common: Any, shares: Sequence[Sequence[Any]], folder: Path) -> None:
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
        _tell(f"SLURM job {job.job_id}", job.exception(), f"see {job.paths.stderr}")


def _ray(workers: Workers, work: Any, common: Any, shares: Sequence[Sequence[Any]], _folder: Path) -> None:
    try:
        import ray
        from ray.exceptions import RayError
    except ModuleNotFoundError as e:
        raise InputError("executor ray: ray is not installed: pip install 'points24[ray]'") from e
    arguments = dict(workers.arguments)
    address = arguments.pop("address", None)
    started = not ray.is_initialized()
    if started:
        ray.init(address=address, num_cpus=None if address else workers.count, log_to_driver=True)
    try:
        task = ray.remote(work).options(**({"max_retries": 0} | arguments))
        waiting = {task.remote(common, share): number for number, share in enumerate(shares)}
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
    """Report a worker that failed. The others go on; what it left is still to do."""
    if error:
        line = next(
            (line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__
        )
        print(f"points24: {who} failed: {line.strip()[:300]} {where}".rstrip(), file=sys.stderr)


EXECUTORS: dict[str, Callable[[Workers, Any, Any, Sequence[Sequence[Any]], Path], None]] = {
    "local": _local,
    "slurm": _slurm,
    "ray": _ray,
}
