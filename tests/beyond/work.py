"""A command that shares work among processes as ``points24 sweep`` does: ``python -m tests.beyond.work``."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from points24.harness.executors.ending import Terminated, terminable
from points24.harness.executors.workers import Workers
from points24.tasks.errors import InputError

SHARES = [[f"{share}-{item}" for item in range(16)] for share in "ab"]
EXPECTED = sorted(name for share in SHARES for name in share)


def work(folder: Path, names: Sequence[str]) -> None:
    """Make the files that are missing, one each half second."""
    for name in names:
        if not (folder / name).exists():
            time.sleep(0.5)
            (folder / name).touch()


class Command:
    """This command in a process of its own."""

    def __init__(self, folder: Path, executor: str, environment: Mapping[str, str], **arguments: Any):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.beyond.work", str(folder), executor, json.dumps(arguments)],
            env=environment,
            cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )

    def done(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("[ab]-*"))

    def is_in_the_middle(self) -> bool:
        """Whether both shares are begun."""
        return {share[0] for share in SHARES} <= set(self.done())

    def ended(self) -> tuple[int, list[str]]:
        """Its exit status, and what it said."""
        try:
            _, said = self.process.communicate(timeout=300)
        finally:
            self.process.kill()
        return self.process.returncode, [line for line in said.splitlines() if line.startswith("points24: ")]


def main(folder: str, executor: str, arguments: str) -> int:
    try:
        with terminable():
            workers = Workers(executor, len(SHARES), json.loads(arguments))
            workers.execute(work, Path(folder), SHARES, Path(folder) / "slurm")
    except Terminated:
        return 143
    except InputError as e:
        print(f"points24: error: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
