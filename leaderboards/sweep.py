"""``points24 sweep``: repair by every recipe, score every result, and report what that shows."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from points24.harness.cli import Command
from points24.harness.config import config_file, load_config, read_settings
from points24.harness.sweep.commands import conducted, print_records, scoring_arguments


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe",
        metavar="RECIPE.yaml",
        help="pairs, grid, tasks, engine, output_dir, …; of a file with a section sweep, that section",
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace the file's")
    parser.add_argument("--executor", choices=("local", "slurm", "ray"), help="as executor=…")
    parser.add_argument("--jobs", type=int, help="as jobs=…")
    scoring_arguments(parser)


def _run(args: argparse.Namespace) -> int:
    from points24.harness.recovery import recoveries
    from points24.harness.sweep.config import SweepConfig
    from points24.leaderboards.build import build
    from points24.leaderboards.recovery import write_recovery_report

    flags = {name: getattr(args, name) for name in ("executor", "jobs")}
    given = [f"{name}={value}" for name, value in flags.items() if value is not None]
    recipe = config_file(args.recipe)
    section = "sweep" if "sweep" in read_settings(recipe) else None
    config = load_config(SweepConfig, recipe, [*args.overrides, *given], section)
    outcome = conducted(config, args)
    if outcome is None:
        return 0
    print_records(outcome.records, args.json)
    if outcome.records:
        out = Path(config.output_dir)
        build(out / "records", out / "report")
        # After the tables, among which is the same report without figures.
        paths = write_recovery_report(outcome.records, out / "report") if recoveries(outcome.records) else []
        print(*paths, out / "report" / "README.md", sep="\n", file=sys.stderr)
    return 1 if outcome.failed else 0


sweep = Command("repair checkpoints by a grid of recipes, and score every one", _arguments, _run)
