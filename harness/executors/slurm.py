"""On SLURM, by submitit."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from points24.harness.executors.workers import C, T, Work, Workers, tell
from points24.tasks.errors import InputError

if TYPE_CHECKING:
    from submitit import AutoExecutor
    from submitit.core.utils import DelayedSubmission


def run(workers: Workers, work: Work[C, T], common: C, shares: Sequence[Sequence[T]], folder: Path) -> None:
    try:
        import submitit
        from submitit.core.utils import FailedJobError
    except ModuleNotFoundError as e:
        raise InputError("executor slurm: submitit is not installed: pip install 'points24[slurm]'") from e
    executor = _executor(workers, folder)
    queue = None
    if executor.cluster == "slurm":
        queue = _queue()
        _cancel_leftovers(folder)
    try:
        jobs = executor.map_array(_Resumable(work), [common] * len(shares), shares)
    except FailedJobError as e:  # what sbatch says
        raise InputError(f"executor_args: {' '.join(str(e).split())}") from e
    waiting = jobs
    try:
        for job in jobs:
            job.watcher = queue or job.watcher
        for job in submitit.helpers.as_completed(jobs, poll_frequency=1):
            waiting = [each for each in waiting if each is not job]
            tell(f"SLURM job {job.job_id}", _traceback(job.exception()), f"see {job.paths.stderr}")
    finally:  # interrupted: what they have done is on the disk
        for job in waiting:
            job.cancel(check=False)


def _executor(workers: Workers, folder: Path) -> AutoExecutor:
    import submitit

    arguments = dict(workers.arguments)
    try:
        executor = submitit.AutoExecutor(folder, cluster=arguments.pop("cluster", "slurm"))
        executor.update_parameters(name="points24", slurm_array_parallelism=workers.count, **arguments)
    except (RuntimeError, ValueError, TypeError, NameError, AssertionError) as e:  # submitit's own checks
        raise InputError(f"executor_args: {e}") from e
    return executor


def _traceback(error: Exception | None) -> str:
    """Of what submitit raises for a job: without the paths of the logs, which it lists after a traceback."""
    text = str(error or "")
    return text.rpartition("\n----------------------\n")[0] or text


class _Resumable(Generic[C, T]):
    """Work that goes on when it is called again: submitit requeues such work when its time is up."""

    def __init__(self, work: Work[C, T]):
        self._work = work

    def __call__(self, common: C, share: Sequence[T]) -> None:
        self._work(common, share)

    def checkpoint(self, common: C, share: Sequence[T]) -> DelayedSubmission:
        from submitit.core.utils import DelayedSubmission

        return DelayedSubmission(self, common, share)


_GONE = "no longer in the queue"


def _queue() -> Any:
    """What tells submitit which jobs have ended.

    Its own asks sacct, which needs SLURM's database; without that it waits for a cancelled job for ever.
    """
    from submitit.core.core import InfoWatcher

    class Queue(InfoWatcher):
        def _make_command(self) -> list[str]:
            return ["squeue", "--noheader", "--me", "--array", "--format=%i %T"]

        def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
            text = string if isinstance(string, str) else string.decode()
            states = dict(line.split() for line in text.splitlines())
            return {job: {"State": states.get(job, _GONE)} for job in self._registered}

        def get_state(self, job_id: str, mode: str = "standard") -> str:
            return self.get_info(job_id, mode).get("State", "UNKNOWN")

        def is_done(self, job_id: str, mode: str = "standard") -> bool:
            return self.get_state(job_id, mode) == _GONE

    return Queue()


def _cancel_leftovers(folder: Path) -> None:
    """Cancel the jobs of an earlier command that was killed, since no two may do the same work, and wait."""
    command = ["squeue", "--noheader", "--me", "--format=%F %o"]
    while True:
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = [line.split(maxsplit=1) for line in run.stdout.splitlines()]
        left = {job for job, *script in lines if script and Path(script[0]).parent == folder}
        if not left:
            return
        print(
            f"points24: ending SLURM jobs of an earlier command: {', '.join(sorted(left))}", file=sys.stderr
        )
        subprocess.run(["scancel", *sorted(left)], capture_output=True, check=False)
        time.sleep(1)
