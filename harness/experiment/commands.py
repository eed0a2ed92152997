"""``points24 reproduce``: the paper's experiment from a base model to a report, stage by stage.

Every stage is a command of its own, printed as it begins, so that anybody can give it by hand; a stage that
is done is not begun again, and one that was killed goes on where it can. Seeds do not touch each other and
may run side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tabulate import tabulate

from points24.harness.analysis.curve import curve, forgetting
from points24.harness.analysis.recovery import recoveries
from points24.harness.analysis.summaries import (
    curve_sentence,
    curve_table,
    recovery_sentence,
    recovery_table,
)
from points24.harness.cli import Command
from points24.harness.experiment.stages import Experiment, Stage, read_experiment, runnable
from points24.harness.files import write_json
from points24.harness.records.store import add_records, read_records
from points24.tasks.errors import InputError
from points24.tasks.verdict import FILTERS


def conduct(experiment: Experiment, jobs: int, only: Sequence[str] = ()) -> None:
    """Run every stage that is not done; seeds side by side, `jobs` at a time.

    Args:
        experiment: what to do.
        jobs: how many at a time.
        only: kinds of stages (sft, ppo, drift, sweep, 2x2); none means all.

    Raises:
        InputError: a stage failed; what is done stays.
    """
    chains = [
        [stage for stage in experiment.stages(seed) if not only or stage.name.partition("-")[0] in only]
        for seed in experiment.config.seeds
    ]
    for folder in ("stages", "logs"):
        (experiment.out / folder).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(jobs) as pool:
        failed = [
            error for error in pool.map(lambda chain: _run_chain(experiment, chain, jobs), chains) if error
        ]
    if failed:
        raise InputError(failed[0])


def _run_chain(experiment: Experiment, chain: Sequence[Stage], jobs: int) -> str | None:
    """Run the stages of one seed up to the first that fails; returns why it did."""
    for stage in chain:
        done, command = experiment.done(stage.name), stage.command()
        given = {"command": command, "environment": experiment.environment}
        if done.exists():
            if not json.loads(done.read_text("utf-8")).items() >= given.items():
                return f"{done}: {stage.name} was done with other settings; expected another output_dir"
            continue
        if stage.leftover is not None:
            shutil.rmtree(stage.leftover, ignore_errors=True)
        print(f"points24: {stage.name}: {experiment.shown(command)}", file=sys.stderr)
        log = experiment.out / "logs" / f"{stage.name}.log"
        began = time.perf_counter()
        with log.open("ab") as output:
            run = subprocess.run(
                runnable(command),
                stdout=output,
                stderr=output if jobs > 1 else None,
                env=os.environ | experiment.environment,
                check=False,
            )
        if run.returncode:
            return f"{stage.name} ended with status {run.returncode}: see {log}; the same command goes on"
        record = given | {"seconds": time.perf_counter() - began}
        write_json(done, record, indent=1)
    return None


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", default="nano.yaml", metavar="FILE.yaml", help="a file, or one that ships"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="replace settings; sft.max_steps=… as well"
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="seeds 0 to N - 1")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="seeds side by side (default: 1)")
    parser.add_argument("--quick", action="store_true", help="small: minutes instead of an hour")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the plan, GPU hours and disk; do nothing"
    )


def _run(args: argparse.Namespace) -> int:
    from points24.leaderboards.reports.reproduction import write_reproduction

    given = [] if args.seeds is None else [f"seeds={list(range(args.seeds))}"]
    variant = "quick" if args.quick else None
    experiment = read_experiment(args.config, [*args.overrides, *given], variant)
    if args.dry_run:
        from points24.harness.experiment.plan import plan_text

        print(plan_text(experiment))
        return 0
    if args.jobs < 1:
        raise InputError(f"jobs: expected at least 1, found {args.jobs}")
    conduct(experiment, args.jobs)
    manifest = experiment.manifest()
    write_json(experiment.out / "manifest.json", manifest, indent=1)
    records = experiment.out / "records"
    for seed in experiment.config.seeds:
        folders = sorted(experiment.out.glob(f"*-{seed}/records"))
        made = [record for folder in folders for record in read_records(folder)]
        add_records(records / f"seed-{seed}.jsonl", made)
    for path in write_reproduction(manifest, read_records(records), experiment.out / "report"):
        print(path)
    return 0


reproduce = Command("the paper's whole experiment: SFT, PPO, drift, recovery, report", _arguments, _run)


# -- demo ------------------------------------------------------------------------------------------------

_STAGES = ("sft", "sweep")
_COLUMNS = ("checkpoint", "ID", "OOD", "recovered %")


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", metavar="DIR", default="nano-demo", help="what is done is kept here (nano-demo)"
    )


def _demo(args: argparse.Namespace) -> int:
    experiment = read_experiment("nano.yaml", [f"output_dir={args.output}"], "demo")
    conduct(experiment, 1, _STAGES)
    seed = experiment.config.seeds[0]
    of_sft, of_sweep = (read_records(experiment.out / f"{name}-{seed}" / "records") for name in _STAGES)
    found = curve(of_sft)
    (recovered,) = (each for each in recoveries(of_sweep) if each.filter == FILTERS[0])
    print(f"Fine-tuning {experiment.config.base} on hands where J, Q and K count as 10:\n")
    print(tabulate(curve_table(found), headers="keys", tablefmt="github", disable_numparse=True))
    print(f"\n{curve_sentence(forgetting(found))}\n\nRecovered without training:\n")
    rows = [{column: row[column] for column in _COLUMNS} for row in recovery_table(recovered)]
    print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True))
    print(f"\n{recovery_sentence(recovered)}")
    return 0


demo = Command(
    "fine-tune a small model until it forgets, recover it, and show the table", _demo_arguments, _demo
)
