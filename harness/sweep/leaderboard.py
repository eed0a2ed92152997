"""The last step of a sweep and of an experiment: the tables and reports of a leaderboards folder.

`points24.leaderboards` is above `harness`, so it is run by its command rather than imported.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import TextIO

from points24.harness.cli import runnable


def build_command(folder: Path) -> list[str]:
    """The command that builds a leaderboards folder; anybody can give it again."""
    return ["points24", "leaderboard", "build", "--dir", str(folder)]


def build_leaderboard(folder: Path, output: TextIO | None = None) -> int:
    """Print the command and run it.

    Args:
        folder: with ``records/`` or ``reproduction/``; what is built goes to ``generated/``.
        output: where its standard output goes; None leaves it as it is.

    Returns:
        The command's exit status.
    """
    command = build_command(folder)
    print(f"points24: leaderboard: {shlex.join(command)}", file=sys.stderr, flush=True)
    return subprocess.run(runnable(command), stdout=output, check=False).returncode
