"""``points24 train``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from points24.harness.cli import Command
from points24.harness.config import load_config, read_settings
from points24.tasks.errors import InputError

if TYPE_CHECKING:
    from points24.trainers.run_folder import RunFolder

_CONFIGS = Path(__file__).resolve().parent / "configs"


def shipped_configs() -> list[str]:
    """Names of the configuration files that come with the package."""
    return sorted(path.name for path in _CONFIGS.glob("*.yaml"))


def config_file(name: str | None) -> Path | None:
    """A configuration file by its path, or by the name of one that ships."""
    if name is None:
        return None
    path = Path(name).expanduser()
    return path if path.exists() or name not in shipped_configs() else _CONFIGS / name


def _arguments(parser: argparse.ArgumentParser) -> None:
    trainers = parser.add_subparsers(metavar="TRAINER", required=True)

    def add(name: str, trainer: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        sub = trainers.add_parser(name, help=about, description=about)
        shipped = ", ".join(shipped_configs())
        sub.add_argument(
            "--config",
            metavar="FILE.yaml",
            help=f"settings under the key {name}; these come along: {shipped}",
        )
        sub.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace the file's")
        sub.set_defaults(run_trainer=trainer)
        return sub

    add("nano", _nano, "the nano base model, from nothing")
    add("sft", _sft, "supervised fine-tuning on solved deals (TRL), each checkpoint scored")
    add("ppo", _ppo, "reinforcement learning with verdicts as rewards and a critic (on TRL), likewise scored")


def _nano(args: argparse.Namespace) -> int:
    from points24.trainers import nano

    print(nano.train(load_config(nano.NanoConfig, config_file(args.config), args.overrides, "nano")))
    return 0


def _sft(args: argparse.Namespace) -> int:
    with _trl():
        from points24.trainers import sft

    return _reported(sft.train(read_settings(config_file(args.config), args.overrides, "sft")))


def _ppo(args: argparse.Namespace) -> int:
    with _trl():
        from points24.trainers import ppo

    return _reported(ppo.train(read_settings(config_file(args.config), args.overrides, "ppo")))


def _reported(run: RunFolder) -> int:
    """Print the curve, and last the run's folder; once, whatever the number of processes."""
    from accelerate import PartialState
    from tabulate import tabulate

    from points24.harness.curve import forgetting
    from points24.harness.curve_report import sentence, table

    if PartialState().is_main_process:
        if found := run.curve():
            print(tabulate(table(found), headers="keys", tablefmt="github", disable_numparse=True))
            print(f"\n{sentence(forgetting(found))}\n")
        print(run.path)
    return 0


@contextmanager
def _trl() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as e:
        raise InputError(f"{e.name} is not installed: pip install 'points24[train]'") from e


def _run(args: argparse.Namespace) -> int:
    return args.run_trainer(args)


train = Command("train a model; prints its folder last", _arguments, _run)
