"""Writing a file of a report: its folder is made, and the file replaced as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from points24.harness.files import replacing
from points24.tasks.errors import InputError


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A path to write to; it becomes `path` when the block ends without an error.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            yield partial
    except OSError as e:
        raise InputError(f"{path}: {e.strerror or e}") from e
