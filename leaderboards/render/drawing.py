"""What all figures share: their style, and files that the same records give again, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from points24.harness.files import replacing
from points24.tasks.errors import InputError

STYLE: dict[Any, Any] = {  # its keys' type is matplotlib's own
    "svg.hashsalt": "points24",  # else the ids inside an SVG are random
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
    "legend.frameon": False,
}
COLOURS = {"id": "#0b6e8f", "id_heldout": "#56b4e9", "ood": "#aa3377"}
_CROWDED = 1 / 4
"""Steps crowd at the start where half of them lie in this share of the axis."""


class Look(NamedTuple):
    colour: str
    marker: str


LOOKS = {  # of what a recipe restores, or of a baseline; told apart without colour, too
    "directions": Look("#0b6e8f", "o"),
    "values": Look("#d95f02", "s"),
    "both": Look("#aa3377", "D"),
    "reset": Look("#6b6b6b", "^"),
    "interpolate": Look("#1b9e77", "v"),
    "task-arithmetic": Look("#a6761d", "P"),
}
_OTHER = Look("#4575b4", "X")


def look_of(kind: str) -> Look:
    """The look of a `Recipe.kind`."""
    return LOOKS.get(kind, _OTHER)


def scale_steps(axes: Axes, steps: Sequence[int], room: float = 0.045) -> None:
    """Steps as they are, unless they crowd at the start: then by their logarithm, with room for step 0.

    Args:
        axes: where the steps are x.
        steps: ascending.
        room: the share of the axis that a label takes; a step that would lie under the next one has none.
    """
    if median(steps) >= _CROWDED * steps[-1]:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return
    first = min(step for step in steps if step)
    axes.set_xscale("symlog", linthresh=first, linscale=0.4)
    axes.set_xlim(-first / 3, steps[-1] * 1.3)  # matplotlib's margins are those of the steps as they are
    labelled, edge = [], inf
    for step in reversed(steps):
        place = axes.transLimits.transform(axes.transScale.transform((step, 0)))[0]
        if place <= edge - room:
            labelled.append(step)
            edge = place
    axes.set_xticks(labelled, [f"{step:,}" for step in labelled])
    axes.xaxis.set_minor_locator(NullLocator())


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
