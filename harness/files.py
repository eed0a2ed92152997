"""Files and folders that appear whole or not at all; JSONL read with errors that name the line.

Everything is written beside its place under a name that ends in ``.partial``, and then renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonlines

from points24.tasks.errors import InputError

_CHUNK = 2**20


@contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """A path to write to; it replaces the file `path` if the block ends without an error.

    Args:
        path: the file; its folder exists.
        shared: several processes may write this file at once. What a killed one leaves is then never reused.
    """
    partial = partial_of(path.with_name(f"{path.name}.{os.getpid()}")) if shared else partial_of(path)
    partial.unlink(missing_ok=True)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, or leave the old one as it was."""
    with replacing(path) as partial:
        partial.write_text(text, "utf-8", newline="\n")


def write_json(path: Path, value: object, *, indent: int = 2) -> None:
    """Write a JSON file, or leave the old one as it was."""
    write_text(path, json.dumps(value, indent=indent) + "\n")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """An empty folder to fill; it becomes `out` if the block ends without an error, and is removed otherwise.

    Its content is on the disk, not only in the system's cache, before it gets its name.

    Raises:
        InputError: `out` exists, another run is filling it, or it cannot be written (a full disk, say).
    """
    partial = partial_of(out)
    if out.exists() or out.is_symlink():
        raise InputError(f"{out} exists; choose another output folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
    except FileExistsError as e:
        raise InputError(
            f"{partial} exists: another run is filling it, or one was killed; remove it in that case"
        ) from e
    except OSError as e:
        raise InputError(f"{out}: {e.strerror}") from e
    try:
        yield partial
        for path in (*partial.rglob("*"), partial):
            _flush(path)
        partial.rename(out)
        _flush(out.parent)
    except OSError as e:
        raise InputError(f"{out}: {e.strerror or e}") from e
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def replacing_folder(out: Path) -> Iterator[Path]:
    """An empty folder to fill; it replaces the folder `out` if the block ends without an error.

    After an error or a kill it stays, and the next call for `out` discards it: only one process at a time
    may be at work there. Its name is hidden, so that a pattern such as ``checkpoint-*`` does not find it.
    """
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


def partial_of(path: Path) -> Path:
    """Where a file of `replacing`, or a folder of `new_folder`, is written before it gets its name."""
    return path.with_name(f"{path.name}.partial")


def discard_partial(path: Path) -> None:
    """Remove what a killed run may have left of a file of `replacing` or a folder of `new_folder`."""
    partial = partial_of(path)
    if partial.is_dir() and not partial.is_symlink():
        shutil.rmtree(partial, ignore_errors=True)
    else:
        partial.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
