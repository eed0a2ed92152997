"""Where a file came from: the command and the versions behind it."""

from __future__ import annotations

import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("points24", "lm_eval", "torch", "transformers", "tokenizers", "safetensors", "vllm", "trl")


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that can change a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def command_line() -> str:
    """The command that runs now, without the folder of its program."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
