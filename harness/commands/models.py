"""``points24 model``: the folder of a shipped model."""

from __future__ import annotations

import argparse

from points24.harness.checkpoints.shipped import model_folder
from points24.harness.cli import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="such as nano-base")


def _run(args: argparse.Namespace) -> int:
    print(model_folder(args.name))
    return 0


model = Command("the folder of a model that ships with the package", _arguments, _run)
