"""A folder of records: reading it whole, and adding to it with several writers at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock

from points24.harness.files import json_lines, write_text
from points24.harness.records.record import Record, record_of
from points24.tasks.errors import InputError

LOCK = ".lock"


def read_records(folder: Path) -> list[Record]:
    """Every record of the folder's ``*.jsonl`` files, by file name and line.

    Raises:
        InputError: no such folder, or a bad record, with its file and line.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of records")
    seen: dict[str, str] = {}
    records = []
    for path in sorted(folder.glob("*.jsonl")):
        for number, record in _numbered(path):
            place = f"{path}, line {number}"
            if first := seen.get(record.key):
                raise InputError(f"{place}: the same record as {first}")
            seen[record.key] = place
            records.append(record)
    return records


def add_records(path: Path, new: Iterable[Record]) -> list[Record]:
    """Add to a records file what its folder does not hold yet, and return that.

    Writers take turns by a lock on the folder. The file is replaced as a whole, so that a reader, or a
    writer that is killed, never leaves or sees part of a line.

    Raises:
        InputError: the folder holds a bad record already.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / LOCK):
        known = {record.key for record in read_records(path.parent)}
        added = []
        for record in new:
            if record.key not in known:
                known.add(record.key)
                added.append(record)
        if added:
            old = path.read_text("utf-8") if path.exists() else ""
            if old and not old.endswith("\n"):
                old += "\n"
            write_text(path, old + "".join(f"{record.line()}\n" for record in added))
    return added


def _numbered(path: Path) -> Iterator[tuple[int, Record]]:
    for number, value in json_lines(path):
        try:
            record = record_of(value)
        except InputError as e:
            raise InputError(f"{path}, line {number}: {e}") from e
        yield number, record
