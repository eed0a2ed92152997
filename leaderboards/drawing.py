"""What all figures share: their style, and files that the same records give again, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from points24.harness.files import replacing
from points24.tasks.errors import InputError

STYLE: dict[Any, Any] = {  # its keys' type is matplotlib's own
    "svg.hashsalt": "points24",  # else the ids inside an SVG are random
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
    "legend.frameon": False,
}


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, as a whole.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            figure.savefig(partial, format="svg", metadata={"Date": None})
    except OSError as e:
        raise InputError(f"{path}: {e.strerror or e}") from e


def file_stem(name: str) -> str:
    """A name as that of a file, without an ending."""
    return re.sub(r"\W+", "_", name)


def save_all(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write figures by their file names, and return the paths.

    Raises:
        InputError: a file cannot be written.
    """
    for name, figure in figures.items():
        save(figure, folder / name)
    return [folder / name for name in figures]
