"""``points24 train``."""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from points24.harness.cli import Command
from points24.harness.config import config_file, load_config, read_settings, shipped_configs
from points24.tasks.errors import InputError

if TYPE_CHECKING:
    from points24.trainers.run.folder import RunFolder


def _arguments(parser: argparse.ArgumentParser) -> None:
    trainers = parser.add_subparsers(metavar="TRAINER", required=True)

    def add(name: str, trainer: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        sub = trainers.add_parser(name, help=about, description=about)
        settings = f"settings, under the key {name}; these are shipped: {', '.join(shipped_configs())}"
        sub.add_argument("--config", metavar="FILE.yaml", help=settings)
        replacing = "settings that replace those of the file"
        sub.add_argument("overrides", nargs="*", metavar="key=value", help=replacing)
        sub.set_defaults(run_trainer=trainer, trainer=name)
        return sub

    add("nano", _nano, "a nano base model, from scratch")
    fine_tuning = {
        "sft": "supervised fine-tuning on solved deals (TRL), with every checkpoint scored",
        "ppo": "PPO with verdicts as rewards and a learned critic (on TRL), with every checkpoint scored",
        "grpo": "GRPO with verdicts as rewards (TRL), with every checkpoint scored",
        "rloo": "RLOO with verdicts as rewards (TRL), with every checkpoint scored",
    }
    shown = "print settings, steps, tokens, disk and commands; train nothing"
    for name, about in fine_tuning.items():
        sub = add(name, _fine_tune, about)
        sub.add_argument("--dry-run", action="store_true", help=shown)
        sub.add_argument("--processes", type=int, metavar="N", help="with --dry-run: for N processes")
        sub.add_argument("--json", action="store_true", help="with --dry-run: print JSON")


def _nano(args: argparse.Namespace) -> int:
    from points24.trainers.nano import train as nano

    print(nano.train(load_config(nano.NanoConfig, config_file(args.config), args.overrides, "nano")))
    return 0


def _fine_tune(args: argparse.Namespace) -> int:
    settings = read_settings(config_file(args.config), args.overrides, args.trainer)
    # Bars of a second for preparing the rows, and a warning of TRL's part for vLLM, which is unused.
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", "TRL currently supports vLLM", UserWarning)
    try:
        trainer = import_module(f"points24.trainers.{args.trainer}")
    except ModuleNotFoundError as e:
        raise InputError(f"{e.name} is not installed: pip install 'points24[train]'") from e
    if args.dry_run:
        return _dry_run(args, settings)
    if args.json or args.processes is not None:
        raise InputError("--json and --processes go with --dry-run")
    return _reported(trainer.train(settings))


def _dry_run(args: argparse.Namespace, settings: dict[str, Any]) -> int:
    from points24.trainers.dry_run.dry_run import dry_run
    from points24.trainers.dry_run.report import as_text

    arguments = [*(["--config", args.config] if args.config else []), *args.overrides]
    stand_in = _grandparent(args, settings) if args.trainer != "sft" else None
    found = dry_run(args.trainer, settings, arguments, args.processes, stand_in)
    print(json.dumps(asdict(found), indent=2, default=str) if args.json else as_text(found))
    return 0


def _grandparent(args: argparse.Namespace, settings: dict[str, Any]) -> str | None:
    """The parent of the file's SFT run, if PPO starts from a checkpoint of that run."""
    try:
        sft = read_settings(config_file(args.config), section="sft")
    except InputError:
        return None
    parent = Path(str(settings.get("model_name_or_path", "")))
    is_its_checkpoint = Path(str(sft.get("output_dir"))) in parent.parents
    return sft.get("model_name_or_path") if is_its_checkpoint else None


def _reported(run: RunFolder) -> int:
    """Print the curve and then the run's folder, on the main process."""
    from accelerate import PartialState
    from tabulate import tabulate

    from points24.harness.analysis.curve import forgetting
    from points24.harness.analysis.formats import wrapped
    from points24.harness.analysis.summaries import curve_sentence, curve_table

    if PartialState().is_main_process:
        if found := run.curve():
            print(tabulate(curve_table(found), headers="keys", tablefmt="github", disable_numparse=True))
            print(f"\n{wrapped(curve_sentence(forgetting(found)))}\n")
        print(run.path)
    return 0


def _run(args: argparse.Namespace) -> int:
    return args.run_trainer(args)


train = Command("train a model; prints its folder last", _arguments, _run, goes_on=True)
