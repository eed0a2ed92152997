"""``points24 eval`` and ``points24 sweep``."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from points24.harness.cli import Command
from points24.harness.config import config_file, configured, load_config, read_settings
from points24.tasks.errors import InputError

if TYPE_CHECKING:
    from points24.harness.records.record import Record
    from points24.harness.sweep.campaign import Outcome
    from points24.harness.sweep.config import ScoringConfig


def scoring_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of both commands."""
    parser.add_argument("--dry-run", action="store_true", help="print jobs, deals and disk; run nothing")
    parser.add_argument("--json", action="store_true", help="records, or the plan, as JSON lines")


def conducted(config: ScoringConfig, args: argparse.Namespace) -> Outcome | None:
    """Score as configured and report what failed; None after a dry run, which prints the plan."""
    from points24.harness.sweep.campaign import conduct
    from points24.harness.sweep.cost import plan_of, plan_text
    from points24.harness.sweep.jobs import jobs_of

    if args.dry_run:
        plan = plan_of(config, jobs_of(config, is_dry=True))
        print(json.dumps(plan) if args.json else plan_text(plan))
        return None
    with contextlib.redirect_stdout(sys.stderr):  # what engines print is progress
        outcome = conduct(config)
    for job, why in outcome.failed.items():
        print(f"points24: {job.model} failed: {why}", file=sys.stderr)
    if outcome.failed:
        count = f"{len(outcome.failed)} of {len(outcome.jobs)} jobs failed"
        print(f"points24: {count}; the same command tries them again", file=sys.stderr)
    return outcome


def print_records(records: list[Record], as_json: bool) -> None:
    """A summary, or one line of JSON per record."""
    from points24.harness.analysis.score_table import summary

    if records:
        print("\n".join(record.line() for record in records) if as_json else summary(records))


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="+", help="folders or hub ids; with a server, the names it knows")
    parser.add_argument("-o", "--output_path", required=True, metavar="DIR", help="results are kept here")
    parser.add_argument("--engine", default="hf", help="hf (default), vllm, local-completions, …")
    parser.add_argument("--model_args", default="", metavar="k=v,…", help="as in lm-eval, without the model")
    parser.add_argument("--tasks", default="points24_id,points24_ood", help="as in lm-eval")
    parser.add_argument("--batch_size", default="auto", help="as in lm-eval")
    parser.add_argument("--device", help="as in lm-eval")
    parser.add_argument("--limit", type=int, help="as in lm-eval: only the first deals of each task")
    parser.add_argument("--apply_chat_template", action="store_true", help="as in lm-eval")
    parser.add_argument("--gen_kwargs", default="", metavar="k=v,…", help="as in lm-eval")
    parser.add_argument("--metadata", default="", metavar="k=v,…", help="as in lm-eval")
    parser.add_argument(
        "--seeds", default="", metavar="0,1,…", help="of sampling, with --gen_kwargs do_sample=true,…"
    )
    parser.add_argument(
        "--recipe",
        metavar="FILE",
        help="how another tool made the model: method, source, target, … (mergekit_config.yml is found)",
    )
    parser.add_argument("--fresh_engine", action="store_true", help="start vLLM anew for every checkpoint")
    scoring_arguments(parser)


def _run(args: argparse.Namespace) -> int:
    from points24.harness.sweep.config import EvalConfig

    names = ("models", "engine", "device", "limit", "apply_chat_template", "fresh_engine", "recipe")
    settings = {name: getattr(args, name) for name in names}
    settings |= {"output_dir": args.output_path, "tasks": args.tasks.split(",")}
    settings |= read_settings(None, [f"batch_size={args.batch_size}", f"seeds=[{args.seeds}]"])
    settings |= {name: _pairs(name, getattr(args, name)) for name in ("model_args", "gen_kwargs", "metadata")}
    outcome = conducted(configured(EvalConfig, settings), args)
    if outcome is None:
        return 0
    print_records(outcome.records, args.json)
    return 1 if outcome.failed else 0


def _pairs(flag: str, text: str) -> dict[str, Any]:
    """The settings that a flag gives as ``k=v,…``."""
    try:
        return read_settings(None, [pair for pair in text.split(",") if pair])
    except InputError as e:
        raise InputError(f"--{flag}: {e}") from e


evaluate = Command("score many checkpoints with one engine", _arguments, _run, goes_on=True)


def _sweep_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe",
        metavar="RECIPE.yaml",
        help="pairs, grid, tasks, engine, output_dir, …; of a file with a section sweep, that section",
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace the file's")
    parser.add_argument("--executor", choices=("local", "slurm", "ray"), help="as executor=…")
    parser.add_argument("--workers", type=int, help="as workers=…")
    parser.add_argument("--seeds", metavar="0,1,…", help="as seeds=[0,1,…]")
    scoring_arguments(parser)


def _sweep(args: argparse.Namespace) -> int:
    from points24.harness.sweep.config import SweepConfig
    from points24.harness.sweep.leaderboard import build_leaderboard

    seeds = None if args.seeds is None else f"[{args.seeds}]"
    flags = {"executor": args.executor, "workers": args.workers, "seeds": seeds}
    given = [f"{name}={value}" for name, value in flags.items() if value is not None]
    recipe = config_file(args.recipe)
    section = "sweep" if "sweep" in read_settings(recipe) else None
    config = load_config(SweepConfig, recipe, [*args.overrides, *given], section)
    outcome = conducted(config, args)
    if outcome is None:
        return 0
    print_records(outcome.records, args.json)
    built = build_leaderboard(Path(config.output_dir), on_stderr=True) if outcome.records else 0
    return built or (1 if outcome.failed else 0)


sweep = Command(
    "recover checkpoints by a grid of recipes, and score every one", _sweep_arguments, _sweep, goes_on=True
)
