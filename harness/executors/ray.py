"""On Ray."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from points24.harness.executors.ending import keeping_sigterm
from points24.harness.executors.workers import C, T, Work, Workers, tell
from points24.tasks.errors import InputError


def run(workers: Workers, work: Work[C, T], common: C, shares: Sequence[Sequence[T]], _folder: Path) -> None:
    try:
        import ray
        from ray.exceptions import RayError
    except ModuleNotFoundError as e:
        raise InputError("executor ray: ray is not installed: pip install 'points24[ray]'") from e
    arguments = dict(workers.arguments)
    address = arguments.pop("address", None)
    started = not ray.is_initialized()
    try:
        if started:
            with keeping_sigterm():
                ray.init(address=address, num_cpus=None if address else workers.count, log_to_driver=True)
        task = ray.remote(work).options(**({"max_retries": 0} | arguments))
        waiting = {task.remote(common, share): number for number, share in enumerate(shares)}
        while waiting:
            for done in ray.wait(list(waiting))[0]:
                try:
                    error = ray.get(done)
                except RayError as e:
                    error = e
                tell(f"Ray task {waiting.pop(done)}", error, "")
    except (ValueError, TypeError, ConnectionError) as e:
        raise InputError(f"executor_args: {' '.join(str(e).split())}") from e
    finally:
        if started:
            ray.shutdown()
