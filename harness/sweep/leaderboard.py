"""The last step of a sweep and of an experiment: the tables and reports of a leaderboards folder.

The leaderboards are a layer above `harness`, so they are run by their command rather than imported.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from points24.harness.cli import runnable


def build_command(folder: Path) -> list[str]:
    """The command that builds a leaderboards folder, from its ``records/`` and ``reproduction/``."""
    return ["points24", "leaderboard", "build", "--dir", str(folder)]


def build_leaderboard(folder: Path, *, on_stderr: bool = False) -> int:
    """Print that command and run it; its standard output goes to standard error where ours has data.

    Returns:
        The command's exit status.
    """
    command = build_command(folder)
    print(f"points24: leaderboard: {shlex.join(command)}", file=sys.stderr, flush=True)
    run = subprocess.run(
        runnable(command), stdout=subprocess.PIPE if on_stderr else None, text=True, check=False
    )
    if on_stderr:
        print(run.stdout, end="", file=sys.stderr)
    return run.returncode
