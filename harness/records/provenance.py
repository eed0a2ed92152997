"""The command and the package versions behind a file."""

from __future__ import annotations

import platform
import shlex
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("points24", "lm_eval", "torch", "transformers", "tokenizers", "safetensors", "vllm", "trl")


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that can change a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def command_line() -> str:
    """The running command, without the folder of its program."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
