"""A folder that is filled layer by layer and, after a kill, filled on from where it was.

While ``OUT`` is unfinished, ``OUT.partial`` holds

    task.json       what is made of what; written once `made` can be changed tensor by tensor
    <layer>.json    tensor -> what is known of its changes, once these are on the disk
    <layer>.<n>.<m>.safetensors     factors of the m-th matrix of the layer's n-th tensor, which is in hand
    <layer>.done    so are those of all the layer's tensors
    error           why a worker has given up
    made/           what becomes OUT

and locks, which the system releases when a process ends, however it ends.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from points24.harness.files import flush, flush_tree, partial_of, replacing
from points24.tasks.errors import InputError

_LOCK, _TASK = "lock", "task.json"


class UnfinishedError(Exception):
    """Some of the work is still to do; the same command goes on with it."""


class Unfinished:
    """The folder and what is known of its progress; every process at work on it has one of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.made = folder / "made"
        self.error = folder / "error"

    def claim(self, layer: int | None) -> FileLock:
        """The lock of whoever works on a layer; None stands for what is outside the layers."""
        return FileLock(self.folder / f"{layer}.lock")

    def tensors(self, layer: int | None) -> dict[str, Any]:
        """What was kept of each of the layer's tensors that are done."""
        path = self.folder / f"{layer}.json"
        return json.loads(path.read_text("utf-8")) if path.exists() else {}

    def keep(self, layer: int | None, tensors: Mapping[str, Any]) -> None:
        """Note that the changes of these tensors of the layer are on the disk."""
        _write(self.folder / f"{layer}.json", tensors)

    def is_done(self, layer: int | None) -> bool:
        return (self.folder / f"{layer}.done").exists()

    def finish(self, layer: int | None) -> int:
        """Note that a layer is done; returns how many are."""
        (self.folder / f"{layer}.done").touch()
        return len(list(self.folder.glob("*.done")))


@contextmanager
def unfinished_folder(
    out: Path, task: Mapping[str, Any], prepare: Callable[[Path], None]
) -> Iterator[Unfinished]:
    """A folder to fill, maybe filled in part; it becomes `out` if the block ends without an error.

    After bad input or an error of the system it is removed. After anything else (a kill, an interruption, a
    defect) it stays, and the next call for the same task goes on with it.

    Args:
        out: the folder to make.
        task: all that decides what is made, as JSON; its keys are named where it differs.
        prepare: makes a folder of that path, which can then be changed tensor by tensor.

    Raises:
        InputError: `out` exists or cannot be written, another run is filling it, or what is unfinished is
            another task's.
    """
    check_new(out)
    partial = partial_of(out)
    if partial.is_symlink() or (partial.exists() and not _is_ours(partial)):
        raise InputError(f"{partial} exists and is no unfinished recovery; remove it")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        lock = FileLock(partial / _LOCK).acquire(timeout=0)
    except Timeout as e:
        raise InputError(f"{partial}: another run is filling it") from e
    except OSError as e:
        raise InputError(f"{out}: {e.strerror}") from e
    with lock:
        unfinished = Unfinished(partial)
        is_prepared = _is_prepared(partial, task)
        try:
            if is_prepared:
                unfinished.error.unlink(missing_ok=True)
            else:
                shutil.rmtree(unfinished.made, ignore_errors=True)
                prepare(unfinished.made)
                flush_tree(unfinished.made)
                _write(partial / _TASK, task)
            yield unfinished
            flush_tree(unfinished.made)
            unfinished.made.rename(out)
            flush(out.parent)
        except InputError:
            _remove(partial)
            raise
        except OSError as e:
            _remove(partial)
            raise InputError(f"{out}: {e.strerror or e}") from e
        _remove(partial)


def check_new(out: Path) -> None:
    """Check that there is no `out` yet. What a run killed behind its end has left beside it is removed.

    Raises:
        InputError: there is one.
    """
    if not out.exists() and not out.is_symlink():
        return
    partial = partial_of(out)
    if not partial.is_symlink() and _is_ours(partial) and not Unfinished(partial).made.exists():
        with suppress(Timeout), FileLock(partial / _LOCK).acquire(timeout=0):  # else that run is about to
            _remove(partial)
    raise InputError(f"{out} exists; choose another output folder")


def _remove(partial: Path) -> None:
    """The lock last: it tells that the folder is ours."""
    with suppress(OSError):
        for path in partial.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _LOCK:
                path.unlink()
    shutil.rmtree(partial, ignore_errors=True)


def _is_ours(partial: Path) -> bool:
    return partial.is_dir() and ((partial / _LOCK).exists() or not any(partial.iterdir()))


def _is_prepared(partial: Path, task: Mapping[str, Any]) -> bool:
    """Whether a run before this one has prepared the folder.

    Raises:
        InputError: it did so for another task.
    """
    if not (partial / _TASK).exists():
        return False
    before = json.loads((partial / _TASK).read_text("utf-8"))
    if others := [key for key, value in task.items() if before.get(key) != value]:
        found = f"{partial} is an unfinished recovery with another {' and '.join(others)}"
        raise InputError(f"{found}; remove it, or choose another output folder")
    return True


def _write(path: Path, value: Mapping[str, Any]) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(value), "utf-8")
        flush(partial)
