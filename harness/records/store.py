"""A folder of records: reading it, and adding to it while other processes do the same."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from points24.harness.files import json_lines, write_text
from points24.harness.records.record import Record, record_of
from points24.tasks.errors import InputError

LOCK = ".lock"


def read_records(folder: Path) -> list[Record]:
    """Every record of the folder's ``*.jsonl`` files, in order of file name and line.

    Raises:
        InputError: no such folder, or an invalid or repeated record.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of records")
    seen: dict[str, str] = {}
    records = []
    for path in sorted(folder.glob("*.jsonl")):
        for number, row in json_lines(path):
            place = f"{path}, line {number}"
            try:
                record = record_of(row)
            except InputError as e:
                raise InputError(f"{place}: {e}") from e
            if first := seen.get(record.key):
                raise InputError(f"{place}: the same record as {first}")
            seen[record.key] = place
            records.append(record)
    return records


def add_records(path: Path, new: Iterable[Record]) -> list[Record]:
    """Add the records that the folder of a file does not hold yet, and return them.

    A lock on the folder serialises writers. The file is replaced as a whole, so no reader ever sees part of
    a line.

    Raises:
        InputError: the folder already holds an invalid record.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / LOCK):
        known = {record.key for record in read_records(path.parent)}
        added: dict[str, Record] = {}
        for record in new:
            if record.key not in known:
                added.setdefault(record.key, record)
        if added:
            old = path.read_text("utf-8") if path.exists() else ""
            if old and not old.endswith("\n"):
                old += "\n"
            write_text(path, old + "".join(f"{record.line()}\n" for record in added.values()))
    return list(added.values())
