"""``points24 leaderboard`` and ``points24 plot``: from lm-eval's output to records, tables and figures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from points24.harness.cli import Command
from points24.tasks.errors import InputError
from points24.tasks.verdict import FILTERS

if TYPE_CHECKING:
    from points24.harness.records.ingest import About
    from points24.harness.records.lm_eval_output import Run
    from points24.harness.records.record import Record

_HOME = Path("leaderboard")
_MEASURED = "measured.jsonl"
_DONE, _SOME_FAILED, _ALL_FAILED, _NOT_WHAT_RECORDS_GIVE = 0, 1, 2, 3


def _run(args: argparse.Namespace) -> int:
    return args.subcommand(args)


def _subcommand(parsers: Any, name: str, run: Callable[[argparse.Namespace], int], about: str) -> Any:
    parser = parsers.add_parser(name, help=about, description=about)
    parser.set_defaults(subcommand=run)
    return parser


# -- leaderboard -----------------------------------------------------------------------------------------


def _arguments(parser: argparse.ArgumentParser) -> None:
    subcommands = parser.add_subparsers(metavar="SUBCOMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        sub = _subcommand(subcommands, name, run, about)
        where = f"the leaderboard's folder (default: ./{_HOME})"
        sub.add_argument("--dir", type=Path, default=_HOME, help=where)
        return sub

    ingest = add("ingest", _ingest, "add lm-eval's output, or a training run's records, to records/")
    _runs_arguments(ingest, "--output_path of lm_eval, or output_dir of points24 train")
    add("build", _build, "write tables, page, reports and figures from records/ to generated/")
    add("check", _check, "exit with 3 unless generated/ is what the records give")
    compare = add("compare", _compare, "two checkpoints deal by deal, on every protocol that they share")
    compare.add_argument("a", help="a model, a label of the tables, or a record's key")
    compare.add_argument("b", help="likewise")
    compare.add_argument("--json", action="store_true", help="one JSON object per protocol")
    rescore = add("rescore", _rescore, "judge stored samples with the present checker, without generating")
    _runs_arguments(rescore, "--output_path of lm_eval")
    rescore.add_argument("--ingest", action="store_true", help="add the outcome to the records")
    export = add("export", _export, "a model's records as the model-index of a Hugging Face model card")
    export.add_argument("model", help="a model, a label of the tables, or a record's key")


def _runs_arguments(parser: argparse.ArgumentParser, folders: str) -> None:
    parser.add_argument("folders", nargs="+", metavar="DIR", type=Path, help=folders)
    parser.add_argument("--model", help="name of the checkpoint (default: that of its folder)")
    parser.add_argument("--parent", help="model that it was trained or recovered from")
    parser.add_argument("--stage", help="what made it: base, SFT, RL, recovered, …")
    parser.add_argument("--step", type=int, help="training step (default: that of a folder checkpoint-N)")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


def _ingest(args: argparse.Namespace) -> int:
    from points24.harness.analysis import formats
    from points24.harness.records.ingest import check_against_results, records_of
    from points24.harness.records.store import add_records
    from points24.leaderboards.ingest import each_run, new_of_runs

    trained = [folder for folder in args.folders if (folder / "records").is_dir()]
    about = _about(args)
    if trained and any(about):
        raise InputError(f"{trained[0]}: a run's records state model, parent, stage and step already")
    records = new_of_runs(trained, args.dir / "records")

    def take(run: Run) -> None:
        check_against_results(run)
        records.extend(records_of(run, about))

    failed = each_run([folder for folder in args.folders if folder not in trained], take)
    added = {record.key for record in add_records(args.dir / "records" / _MEASURED, records)}
    for record in records:
        state = "added" if record.key in added else "known"
        row = {"state": state, "key": record.key, "label": record.label, "task": record.task}
        score = f"{record.label} {record.task} {record.filter} {formats.won(record)}"
        print(json.dumps(row) if args.json else f"{state} {record.key[:12]} {score}")
    return _status(len(records), failed)


def _build(args: argparse.Namespace) -> int:
    from points24.leaderboards.build import build

    changed, warnings = build(args.dir)
    print("\n".join(changed) if changed else "nothing has changed")
    for warning in warnings:
        print(f"points24: warning: {warning}", file=sys.stderr)
    return _DONE


def _check(args: argparse.Namespace) -> int:
    from points24.leaderboards.build import differing

    if stale := differing(args.dir):
        remedy = f"run points24 leaderboard build --dir {args.dir}"
        print(f"points24: error: not what the records give: {', '.join(stale)}; {remedy}", file=sys.stderr)
        return _NOT_WHAT_RECORDS_GIVE
    print("the generated files are what the records give")
    return _DONE


def _compare(args: argparse.Namespace) -> int:
    from points24.harness.records.store import read_records
    from points24.leaderboards import compare

    for a, b in compare.pairs(read_records(args.dir / "records"), args.a, args.b):
        if args.json:
            print(json.dumps(compare.as_json(a, b), ensure_ascii=False))
        else:
            print("\n".join(compare.lines(a, b)))
    return _DONE


def _rescore(args: argparse.Namespace) -> int:
    from points24.harness.records.ingest import records_of, rescored
    from points24.harness.records.store import add_records
    from points24.leaderboards.ingest import each_run

    about = _about(args)
    records: list[Record] = []

    def judge(before: Run) -> None:
        after = rescored(before)
        found = records_of(after, about)
        records.extend(found)
        for record, old, new in zip(found, before.dialogues.values(), after.dialogues.values(), strict=True):
            verdicts = [(x.deciding.verdict, y.deciding.verdict) for x, y in zip(old, new, strict=True)]
            changed = sum(x != y for x, y in verdicts)
            was = sum(x == "correct" for x, _ in verdicts)
            row = {"label": record.label, "task": record.task, "filter": record.filter, "n": record.n}
            row |= {"k_before": was, "k": record.k, "changed_verdicts": changed}
            scores = f"{was}/{record.n} as stored, {record.k}/{record.n} now, {changed} verdicts changed"
            text = f"{record.label} {record.task} {record.filter}: {scores}"
            print(json.dumps(row) if args.json else text)

    failed = each_run(args.folders, judge, any_version=True)
    if args.ingest:
        added = add_records(args.dir / "records" / _MEASURED, records)
        print(f"{len(added)} records added, {len(records) - len(added)} known", file=sys.stderr)
    return _status(len(records), failed)


def _export(args: argparse.Namespace) -> int:
    from points24.harness.records.store import read_records
    from points24.leaderboards.compare import select
    from points24.leaderboards.export import model_card

    print(model_card(select(read_records(args.dir / "records"), args.model)), end="")
    return _DONE


def _about(args: argparse.Namespace) -> About:
    from points24.harness.records.ingest import About

    return About(args.model, args.parent, args.stage, args.step)


def _status(done: int, failed: int) -> int:
    return _DONE if not failed else _SOME_FAILED if done else _ALL_FAILED


leaderboard = Command("your results as records, tables and a page", _arguments, _run)


# -- plot ------------------------------------------------------------------------------------------------


def _plot_arguments(parser: argparse.ArgumentParser) -> None:
    subcommands = parser.add_subparsers(metavar="SUBCOMMAND", required=True)
    about = "a training run's accuracy and OOD verdicts over its steps, as SVG"
    sub = _subcommand(subcommands, "curve", _plot_curve, about)
    sub.add_argument("folder", metavar="RUN", type=Path, help="output_dir of a training run, with records/")
    sub.add_argument("-o", "--output", metavar="FILE.svg", type=Path, help="(default: RUN/curve.svg)")
    sub.add_argument("--filter", choices=FILTERS, default=FILTERS[0], help=f"(default: {FILTERS[0]})")
    about = "what the checkpoints of points24 shift believe, step by step, as SVG"
    sub = _subcommand(subcommands, "shift", _plot_shift, about)
    sub.add_argument("folder", metavar="DIR", type=Path, help="output of points24 shift")
    sub.add_argument("-o", "--output", metavar="FILE.svg", type=Path, help="(default: DIR/shift.svg)")
    about = (
        "what has moved in the weights: rank by rank, by module and layer, and over the checkpoints, as SVG"
    )
    sub = _subcommand(subcommands, "drift", _plot_drift, about)
    sub.add_argument("folder", metavar="DIR", type=Path, help="output of points24 drift")
    sub.add_argument("-o", "--output", metavar="FILE.svg", type=Path, help="(default: DIR/drift.svg)")
    about = "what recovered checkpoints regain: recovery.md and its figures"
    sub = _subcommand(subcommands, "recovery", _plot_recovery, about)
    a_folder = "a folder with records/, or one of records"
    sub.add_argument("folders", nargs="+", metavar="DIR", type=Path, help=a_folder)
    where = "(default: recovery/ below the first, beside records/)"
    sub.add_argument("-o", "--output", metavar="DIR", type=Path, help=where)
    sub.add_argument("--json", action="store_true", help="one JSON object per pair and filter, not the paths")


def _plot_curve(args: argparse.Namespace) -> int:
    from points24.harness.analysis.curve import curve
    from points24.harness.records.store import read_records
    from points24.leaderboards.figures import Plot, write_figures

    path = _svg(args.output or args.folder / "curve.svg")
    found = curve(read_records(args.folder / "records"), args.filter)
    print(*write_figures({path: Plot("curve", found)}))
    return _DONE


def _plot_shift(args: argparse.Namespace) -> int:
    from points24.harness.analysis.foretelling import foretellings, shifts_of
    from points24.harness.analysis.shift_summaries import foretelling_sentence
    from points24.harness.records.shift import read_shift_records
    from points24.harness.records.store import read_records
    from points24.leaderboards.figures import SHIFT, Plot, write_figures

    path = _svg(args.output or args.folder / "shift.svg")
    store = args.folder / "records"
    scores = read_records(store) if store.is_dir() else []
    found = shifts_of(read_shift_records(args.folder / "shift.jsonl"), scores)
    if not found.runs:
        raise InputError(
            f"{args.folder}: no run with shift records and scores of points24_ood at two steps or more; "
            "points24 shift takes the scores from records/ beside the checkpoints"
        )
    print(foretelling_sentence(foretellings(found.runs), found.runs))
    print(*write_figures({path: Plot(SHIFT, found)}))
    return _DONE


def _plot_drift(args: argparse.Namespace) -> int:
    from points24.harness.drift.report import read_report
    from points24.leaderboards.figures import WEIGHTS, Plot, write_figures

    path = _svg(args.output or args.folder / "drift.svg")
    print(*write_figures({path: Plot(WEIGHTS, read_report(args.folder))}))
    return _DONE


def _svg(path: Path) -> Path:
    if path.suffix != ".svg":
        raise InputError(f"--output: expected a file that ends in .svg, found {path}")
    return path


def _plot_recovery(args: argparse.Namespace) -> int:
    from points24.harness.analysis.formats import wrapped
    from points24.harness.analysis.recovery import missing_references, recoveries
    from points24.harness.analysis.recovery_summaries import (
        recovery_sentence,
        recovery_summary,
        recovery_title,
    )
    from points24.harness.records.store import read_records
    from points24.leaderboards.reports.recovery import write_recovery_report

    stores = [folder / "records" if (folder / "records").is_dir() else folder for folder in args.folders]
    records = list({record.key: record for store in stores for record in read_records(store)}.values())
    found, missing = recoveries(records), missing_references(records)
    if not found and missing:
        raise InputError(
            f"no recovery: no record of {', '.join(missing)} with the protocol and decoding of what "
            "was recovered"
        )
    if not found:
        raise InputError("no recovery: no OOD record of a checkpoint that points24 recover made")
    for name in missing:
        lost = f"left out what lacks {name} on the same protocol and decoding"
        print(f"points24: warning: {lost}", file=sys.stderr)
    paths = write_recovery_report(found, args.output or stores[0].resolve().parent / "recovery")
    for each in found:
        text = wrapped(f"{recovery_title(each)}. {recovery_sentence(each)}")
        print(json.dumps(recovery_summary(each), ensure_ascii=False) if args.json else text)
    if not args.json:
        print("\n".join(map(str, paths)))
    return _DONE


plot = Command("figures of training runs and of recovered checkpoints", _plot_arguments, _run)
