"""``points24 show``: lm-eval's output, or records, as tables to read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from points24.harness.cli import Command

if TYPE_CHECKING:
    from points24.harness.records.lm_eval_output import Run
    from points24.harness.records.record import Record


def _arguments(parser: argparse.ArgumentParser) -> None:
    folders = (
        "--output_path of lm_eval (with --log_samples), or a folder with records/, such as a training run"
    )
    parser.add_argument("folders", nargs="+", metavar="DIR", type=Path, help=folders)


def _run(args: argparse.Namespace) -> int:
    from points24.harness.analysis.score_table import score_tables
    from points24.harness.records.ingest import About, records_of
    from points24.harness.records.store import read_records
    from points24.leaderboards.ingest import each_run

    with_records = [folder / "records" for folder in args.folders if (folder / "records").is_dir()]
    records: list[Record] = [record for store in with_records for record in read_records(store)]
    nobody = About(weights_sha256="0" * 64)  # not shown, and to compute it takes long

    def take(run: Run) -> None:
        records.extend(records_of(run, nobody))

    failed = each_run([folder for folder in args.folders if folder / "records" not in with_records], take)
    if records:
        print(score_tables(records))
    return 0 if not failed else 1 if records else 2


show = Command("what lm_eval or points24 measured, with intervals and every verdict", _arguments, _run)
