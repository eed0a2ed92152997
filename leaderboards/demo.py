"""``points24 demo``: a model forgets the rule it is not trained on, and is repaired; in minutes."""

from __future__ import annotations

import argparse

from tabulate import tabulate

from points24.harness.cli import Command
from points24.harness.curve import curve, forgetting
from points24.harness.curve_report import sentence as curve_sentence
from points24.harness.curve_report import table as curve_table
from points24.harness.record_store import read_records
from points24.harness.records import FILTERS
from points24.harness.recovery import recoveries
from points24.harness.recovery_report import sentence as recovery_sentence
from points24.harness.recovery_report import table as recovery_table
from points24.leaderboards.experiment import read_experiment
from points24.leaderboards.reproduce import conduct

_STAGES = ("sft", "sweep")
_COLUMNS = ("checkpoint", "ID", "OOD", "recovered %")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", metavar="DIR", default="nano-demo", help="what is done is kept here (nano-demo)"
    )


def _demo(args: argparse.Namespace) -> int:
    experiment = read_experiment("nano.yaml", [f"output_dir={args.output}"], "demo")
    conduct(experiment, 1, _STAGES)
    seed = experiment.config.seeds[0]
    of_sft, of_sweep = (read_records(experiment.out / f"{name}-{seed}" / "records") for name in _STAGES)
    found = curve(of_sft)
    (repaired,) = (each for each in recoveries(of_sweep) if each.filter == FILTERS[0])
    print(f"Fine-tuning {experiment.config.base} on hands where J, Q and K count as 10:\n")
    print(tabulate(curve_table(found), headers="keys", tablefmt="github", disable_numparse=True))
    print(f"\n{curve_sentence(forgetting(found))}\n\nRepaired without training:\n")
    rows = [{column: row[column] for column in _COLUMNS} for row in recovery_table(repaired)]
    print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True))
    print(f"\n{recovery_sentence(repaired)}")
    return 0


demo = Command("fine-tune a small model until it forgets, repair it, and show the table", _arguments, _demo)
