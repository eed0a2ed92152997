"""Atomic writing of files and folders; reading of JSONL with errors that name the line.

Everything is written beside its final place under a name that ends in ``.partial``, and then renamed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonlines
from filelock import FileLock, Timeout

from points24.tasks.errors import InputError

LOCK = ".lock"
_CHUNK = 2**20
_OF_THE_DISK = [
    getattr(errno, name)
    for name in ("EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "EIO", "ENAMETOOLONG", "ENOTDIR", "EISDIR")
]
"""What is wrong with a place or a disk, not with the program."""


@contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """A path to write to; it replaces `path`, in an existing folder, if the block ends without an error.

    Args:
        path: the file to replace.
        shared: whether several processes may write this file at once; each then writes its own partial file.
    """
    partial = partial_of(path.with_name(f"{path.name}.{os.getpid()}") if shared else path)
    partial.unlink(missing_ok=True)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, or leave the old one unchanged."""
    with replacing(path) as partial:
        partial.write_text(text, "utf-8", newline="\n")


def write_json(path: Path, value: object, *, indent: int = 2) -> None:
    """Write a JSON file, or leave the old one unchanged."""
    write_text(path, json.dumps(value, indent=indent) + "\n")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """An empty folder to fill; it becomes `out` if the block ends without an error, and is removed otherwise.

    Its content is flushed to the disk before the folder is renamed.

    Raises:
        InputError: `out` exists, another run is filling it, or it cannot be written (the disk is full).
    """
    partial = partial_of(out)
    if out.exists() or out.is_symlink():
        raise InputError(f"{out} exists; choose another output folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
    except FileExistsError as e:
        raise InputError(
            f"{partial} exists: another run is filling it, or a run was killed; in that case remove it"
        ) from e
    except OSError as e:
        raise InputError(f"{out}: {e.strerror}") from e
    try:
        yield partial
        flush_tree(partial)
        partial.rename(out)
        flush(out.parent)
    except OSError as e:
        raise InputError(f"{out}: {e.strerror or e}") from e
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def replacing_folder(out: Path) -> Iterator[Path]:
    """An empty folder to fill; it replaces the folder `out` if the block ends without an error.

    After an error or a kill the partial folder stays until the next call for `out` discards it, so only one
    process may fill it. Its name is hidden, so that a pattern such as ``checkpoint-*`` does not match it.
    """
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A folder, made if need be, in which one command at a time works.

    Raises:
        InputError: another is at work there, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK).acquire(timeout=0)
    except Timeout as e:
        raise InputError(f"{folder}: another command is at work there") from e
    except OSError as e:
        raise InputError(f"{folder}: {e.strerror or e}") from e
    with lock:
        yield


_TORCH_FAILED = ("unexpected pos ", "basic_ios::clear: iostream error")
"""What torch.save says where a write has failed, and nothing of the reason."""


def disk_error(error: BaseException | None) -> str | None:
    """In one line, why a place could not be read or written; None for any other error.

    Libraries wrap the system's errors: their causes and, for safetensors and torch, their text are searched.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
        text = str(error)
        if any(says in text for says in (*map(os.strerror, _OF_THE_DISK), *_TORCH_FAILED)):
            return " ".join(text.split())
        error = error.__cause__ or error.__context__
    return None


def partial_of(path: Path) -> Path:
    """Where `replacing` and `new_folder` write before they rename."""
    return path.with_name(f"{path.name}.partial")


def discard_partial(path: Path) -> None:
    """Remove what a killed run of `replacing` or `new_folder` may have left."""
    partial = partial_of(path)
    if partial.is_dir() and not partial.is_symlink():
        shutil.rmtree(partial, ignore_errors=True)
    else:
        partial.unlink(missing_ok=True)


def flush_tree(folder: Path) -> None:
    """Bring a folder and all that is below it to the disk."""
    for path in (*folder.rglob("*"), folder):
        flush(path)


def flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def json_lines(path: Path, kind: type | None = None) -> Iterator[tuple[int, Any]]:
    """(line number from 1, value) for each line of a JSONL file.

    Args:
        path: the file.
        kind: the type that every value must have, such as dict; None accepts any.

    Raises:
        InputError: the file cannot be read, or a line is invalid.
    """
    number = 0
    try:
        # Opened in binary, so that text that is not UTF-8 is reported with its line.
        with path.open("rb") as file, jsonlines.Reader(file) as reader:
            for number, value in enumerate(reader.iter(type=kind), start=1):
                yield number, value
    except RecursionError as e:
        raise InputError(f"{path}, line {number + 1}: JSON nested too deeply") from e
    except jsonlines.InvalidLineError as e:
        raise InputError(f"{path}, line {e.lineno}: {str(e).splitlines()[0]}") from e
    except OSError as e:
        raise InputError(f"{path}: {e.strerror or e}") from e


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
