"""Files: written so that nobody ever sees half of one, read with errors that name the line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonlines

from points24.tasks.errors import InputError

_CHUNK = 2**20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; it takes the place of `path` when the block ends well, and only then."""
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def json_lines(path: Path, kind: type | None = None) -> Iterator[tuple[int, Any]]:
    """(line number from 1, value) for each line of a JSONL file.

    Args:
        path: the file.
        kind: what every value has to be, such as dict; None takes any.

    Raises:
        InputError: the file cannot be read, or a line is not that; with file and line.
    """
    number = 0
    try:
        # Bytes, so that what is not UTF-8 is known by its line.
        with path.open("rb") as file, jsonlines.Reader(file) as reader:
            while True:
                number += 1
                yield number, reader.read(type=kind)
    except EOFError:
        return
    except jsonlines.InvalidLineError as e:
        raise InputError(f"{path}, line {number}: {str(e).splitlines()[0]}") from e
    except OSError as e:
        raise InputError(f"{path}: {e.strerror or e}") from e


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
