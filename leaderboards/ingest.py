"""Reading what is to become records: training runs, and lm-eval's output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from points24.harness.analysis.comparison import terms_of
from points24.harness.records.lm_eval_output import Run, runs
from points24.harness.records.record import Record
from points24.harness.records.store import read_records
from points24.tasks.errors import InputError


def new_of_runs(folders: Iterable[Path], store: Path) -> list[Record]:
    """The records of training runs; a parent's scores only where neither store nor another run has them."""

    def score(record: Record) -> tuple[Any, ...]:
        return record.weights_sha256, terms_of(record), record.outcomes

    found = {record.key: record for folder in folders for record in read_records(folder / "records")}
    known = {score(record) for record in (read_records(store) if store.is_dir() else [])}
    new = []
    # A checkpoint's own score, which has a stage, comes before that of the same weights as a parent.
    for record in sorted(found.values(), key=lambda record: record.stage is None):
        if record.stage is not None or score(record) not in known:
            known.add(score(record))
            new.append(record)
    return new


def each_run(folders: Iterable[Path], take: Callable[[Run], None], *, any_version: bool = False) -> int:
    """Hand every lm-eval run in the folders to `take`; one that cannot be read or taken is reported.

    Returns:
        How many could not.
    """
    failed = 0

    def report(error: InputError) -> None:
        nonlocal failed
        failed += 1
        print(f"points24: error: {error}", file=sys.stderr)

    def readers() -> Iterator[Callable[[], Run]]:
        for folder in folders:
            try:
                yield from runs(folder, any_version=any_version)
            except InputError as e:
                report(e)

    for read in readers():
        try:
            take(read())
        except InputError as e:
            report(e)
    return failed
