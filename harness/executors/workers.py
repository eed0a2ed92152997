"""Who does some work, and where: an executor, a number of processes, and the executor's own arguments.

An executor is a module beside this one with a function `run`; another one is one more, named in `EXECUTORS`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from points24.tasks.errors import InputError

EXECUTORS = ("local", "slurm", "ray")
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
        executor = importlib.import_module(f"points24.harness.executors.{self.executor}")
        executor.run(self, work, common, shares, folder)


def tell(who: str, error: Any, where: str) -> None:
    """Report a worker that failed. The others go on; what it left is still to do."""
    if error:
        line = next(
            (line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__
        )
        print(f"points24: {who} failed: {line.strip()[:300]} {where}".rstrip(), file=sys.stderr)
