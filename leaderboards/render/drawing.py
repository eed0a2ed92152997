"""What all figures share: colours, scales and panels, and files that are the same bytes every time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator
from matplotlib.transforms import offset_copy

from points24.leaderboards.output import writing

STYLE: dict[Any, Any] = {  # its keys' type is matplotlib's own
    "svg.hashsalt": "points24",  # else the ids inside an SVG are random
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
    "legend.frameon": False,
}
COLOURS = {"id": "#0b6e8f", "id_heldout": "#56b4e9", "ood": "#aa3377"}
INK, GREY = "#222222", "#6b6b6b"
DASHED = (0, (4, 1.5))
SOURCE_STROKE, TARGET_STROKE = (0, (6, 2)), (0, (1, 1.5))
_CROWDED = 1 / 4
"""Steps crowd at the start where the first gap is less than this share of the widest."""


SIDES = {"ood": "OOD", "id": "ID"}


class Look(NamedTuple):
    colour: str
    marker: str


_LOOKS = {  # shapes differ as well, for readers who see no colours
    "directions": Look("#0b6e8f", "o"),
    "values": Look("#d95f02", "s"),
    "both": Look("#aa3377", "D"),
    "reset": Look(GREY, "^"),
    "interpolate": Look("#1b9e77", "v"),
    "task-arithmetic": Look("#a6761d", "P"),
    "slerp": Look("#66a61e", "<"),
    "lines": Look("#1b7837", ">"),
    "soup": Look("#4d9221", "h"),
    "ties": Look("#e6ab02", "s"),
    "dare": Look("#bf812d", "D"),
    "della": Look("#8c510a", "o"),
    "delta-rank": Look("#7570b3", "o"),
    "dg-hard": Look("#542788", "s"),
    "paper-scripts": Look("#5ab4ac", "d"),
    "source": Look(INK, "*"),
    "target": Look(INK, "X"),
}
_OTHER = Look("#4575b4", "p")


def look_of(kind: str) -> Look:
    """The look of what a recipe restores, of a baseline's method, or of the source or the target."""
    return _LOOKS.get(kind, _OTHER)


def heading(axes: Axes, text: str, colour: str = INK) -> None:
    """A panel's title, in bold at its left."""
    axes.set_title(text, loc="left", fontsize=9, fontweight="bold", color=colour)


def beside(axes: Axes, points: float) -> Any:
    """The coordinates of a panel's data, moved to the right by so many points (1/72 inch)."""
    return offset_copy(axes.transData, fig=axes.figure.get_figure(root=True), x=points, units="points")


def sample(label: str, **style: Any) -> Line2D:
    """An entry of a legend."""
    entry: dict[str, Any] = {"color": INK, "label": label} | style
    return Line2D([], [], **entry)


def limits(values: Iterable[float], *, from_zero: bool = True) -> tuple[float, float]:
    """The ends of an axis with a margin around the values; a line at 0 stays visible."""
    found = list(values)
    low, high = min([*found, 0.0]) if from_zero else min(found), max(found)
    margin = max(high - low, 1.0)
    return low - 0.03 * margin, high + 0.07 * margin


def scale_steps(axes: Axes, steps: Sequence[int], room: float = 0.045) -> None:
    """A linear axis of training steps, or a logarithmic one (with step 0) where they crowd at the start.

    Args:
        axes: where the steps are x.
        steps: ascending.
        room: the share of the axis that a label takes; a step whose label would touch the next one has none.
    """
    gaps = [later - step for step, later in pairwise(steps)]
    if not gaps or gaps[0] >= _CROWDED * max(gaps):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return
    first = min(step for step in steps if step)
    axes.set_xscale("symlog", linthresh=first, linscale=0.4)
    axes.set_xlim(-first / 3, steps[-1] * 1.3)  # matplotlib's own margins suit a linear axis only
    labelled, edge = [], inf
    for step in reversed(steps):
        place = axes.transLimits.transform(axes.transScale.transform((step, 0)))[0]
        if place <= edge - room:
            labelled.append(step)
            edge = place
    axes.set_xticks(labelled, [f"{step:,}" for step in labelled])
    axes.xaxis.set_minor_locator(NullLocator())


def save(draw: Callable[[Any], Figure], found: object, path: Path) -> None:
    """Draw a figure and write it as SVG, the file as a whole.

    Raises:
        InputError: the file cannot be written.
    """
    with mpl.rc_context(STYLE), writing(path) as partial:
        draw(found).savefig(partial, format="svg", metadata={"Date": None})
