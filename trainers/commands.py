"""``points24 train`` and ``points24 model``."""

from __future__ import annotations

import argparse
from pathlib import Path

from points24.harness.cli import Command
from points24.harness.config import load_config
from points24.tasks.errors import InputError

MODELS = Path(__file__).resolve().parent / "models"
"""The folder of the models that ship with the package."""


def model_folder(name: str) -> Path:
    """The folder of a shipped model.

    Raises:
        InputError: there is none of that name.
    """
    shipped = sorted(path.name for path in MODELS.iterdir())
    if name not in shipped:
        raise InputError(f"unknown model {name!r}; allowed: {', '.join(shipped)}")
    return MODELS / name


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    trainers = parser.add_subparsers(metavar="TRAINER", required=True)
    nano = trainers.add_parser("nano", help="the nano base model, from nothing")
    nano.add_argument("--config", metavar="FILE.yaml", help="settings; the rest has defaults")
    nano.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace the file's")
    nano.set_defaults(trainer=_nano)


def _nano(args: argparse.Namespace) -> Path:
    from points24.trainers import nano

    return nano.train(load_config(nano.NanoConfig, args.config, args.overrides))


def _train(args: argparse.Namespace) -> int:
    print(args.trainer(args))
    return 0


def _model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="such as nano-base")


def _model(args: argparse.Namespace) -> int:
    print(model_folder(args.name))
    return 0


train = Command("train a model; prints its folder", _train_arguments, _train)
model = Command("the folder of a model that ships with the package", _model_arguments, _model)
