"""``points24 train``."""

from __future__ import annotations

import argparse
from pathlib import Path

from points24.harness.cli import Command
from points24.harness.config import load_config


def _arguments(parser: argparse.ArgumentParser) -> None:
    trainers = parser.add_subparsers(metavar="TRAINER", required=True)
    nano = trainers.add_parser("nano", help="the nano base model, from nothing")
    nano.add_argument("--config", metavar="FILE.yaml", help="settings; the rest has defaults")
    nano.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace the file's")
    nano.set_defaults(trainer=_nano)


def _nano(args: argparse.Namespace) -> Path:
    from points24.trainers import nano

    return nano.train(load_config(nano.NanoConfig, args.config, args.overrides))


def _run(args: argparse.Namespace) -> int:
    print(args.trainer(args))
    return 0


train = Command("train a model; prints its folder", _arguments, _run)
