"""``points24 model``: the models that ship with the package, one folder each beside this file."""

from __future__ import annotations

import argparse
from pathlib import Path

from points24.harness.cli import Command
from points24.tasks.errors import InputError

_HERE = Path(__file__).resolve().parent


def model_folder(name: str) -> Path:
    """The folder of a shipped model.

    Raises:
        InputError: there is none of that name.
    """
    if name not in shipped():
        raise InputError(f"unknown model {name!r}; allowed: {', '.join(shipped())}")
    return _HERE / name


def shipped() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(config.parent.name for config in _HERE.glob("*/config.json"))


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="such as nano-base")


def _run(args: argparse.Namespace) -> int:
    print(model_folder(args.name))
    return 0


model = Command("the folder of a model that ships with the package", _arguments, _run)
