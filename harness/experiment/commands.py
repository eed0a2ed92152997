"""``points24 reproduce``, the paper's experiment from a base model to a report, and ``points24 demo``."""

from __future__ import annotations

import argparse
from pathlib import Path

from points24.harness.cli import Command
from points24.harness.experiment.runner import conduct
from points24.harness.experiment.stages import read_experiment, read_experiments
from points24.harness.sweep.leaderboard import build_leaderboard
from points24.tasks.errors import InputError

REPRODUCTION = "reproduction"
"""The folder of reproductions in a leaderboards folder."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", default="nano.yaml", metavar="FILE.yaml", help="a file, or one that ships"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="replace settings; sft.max_steps=… as well"
    )
    parser.add_argument("--seeds", metavar="0,1,…", help="seeds of SFT and PPO (default: the file's)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="seeds side by side (default: 1)")
    parser.add_argument(
        "--dir",
        type=Path,
        default=Path("leaderboard"),
        help="leaderboards folder that the results are added to (default: leaderboard)",
    )
    parser.add_argument("--quick", action="store_true", help="small: minutes instead of an hour")
    parser.add_argument(
        "--dry-run", action="store_true", help="print stages, commands, steps and disk; run nothing"
    )


def _run(args: argparse.Namespace) -> int:
    given = [] if args.seeds is None else [f"seeds=[{args.seeds}]"]
    experiments = read_experiments(args.config, [*args.overrides, *given], "quick" if args.quick else None)
    if args.workers < 1:
        raise InputError(f"workers: expected at least 1, found {args.workers}")
    if args.dry_run:
        from points24.harness.experiment.plan import plan_text

        print("\n\n".join(plan_text(each, args.dir) for each in experiments))
        return 0
    from points24.harness.experiment.manifest import write_reproduction

    conduct(experiments, args.workers)
    first = experiments[0].out
    for each in experiments:
        write_reproduction(each, args.dir / REPRODUCTION / first.name / each.out.relative_to(first))
    return build_leaderboard(args.dir)


reproduce = Command(
    "the paper's whole experiment: SFT, PPO, drift, recovery, report", _arguments, _run, goes_on=True
)


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", metavar="DIR", default="nano-demo", help="results are kept here (nano-demo)"
    )


def _demo(args: argparse.Namespace) -> int:
    from tabulate import tabulate

    from points24.harness.analysis.curve import curve, forgetting
    from points24.harness.analysis.formats import wrapped
    from points24.harness.analysis.recovery import recoveries
    from points24.harness.analysis.recovery_summaries import SHARES, recovery_sentence, recovery_table
    from points24.harness.analysis.summaries import curve_sentence, curve_table, share_cell
    from points24.harness.records.store import read_records
    from points24.tasks.verdict import STRICT

    experiment = read_experiment("nano.yaml", [f"output_dir={args.output}"], "demo")
    conduct([experiment])
    seed = experiment.config.seeds[0]
    of_sft, of_sweep = (
        read_records(experiment.out / f"{kind}-{seed}" / "records") for kind in ("sft", "sweep")
    )
    found = curve(of_sft)
    (recovery,) = (each for each in recoveries(of_sweep) if each.filter == STRICT)
    print(f"Fine-tuning {experiment.config.base} on hands where J, Q and K count as 10:\n")
    print(tabulate(curve_table(found), headers="keys", tablefmt="github", disable_numparse=True))
    print(f"\n{wrapped(curve_sentence(forgetting(found)))}\n\nRecovered without training:\n")
    columns = ("checkpoint", SHARES["recovered"], SHARES["retained"], "ID", "OOD")
    rows = [{column: row[column] for column in columns} for row in recovery_table(recovery, share_cell)]
    print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True))
    print(f"\n{wrapped(recovery_sentence(recovery))}")
    return 0


demo = Command(
    "fine-tune a small model until it forgets, recover it, and show the table",
    _demo_arguments,
    _demo,
    goes_on=True,
)
