"""A report on drift -> a figure (matplotlib, the extra `plots`): what has moved in the weights.

Rank by rank for the last checkpoint, by module and by layer, each line the mean of its matrices, beside what
rounding to bf16 alone does; then over the checkpoints, layers and modules on one scale of colours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray

from points24.harness.drift.curves import Curve
from points24.harness.drift.quantities import END, QUANTITIES
from points24.harness.drift.report import Report, Row, head_angle
from points24.leaderboards.render.drawing import DASHED, GREY, heading

_LINES = {
    "ratio": "Singular values, last / first",
    "left": "Left vectors (output)",
    "right": "Right vectors (input)",
    "head_left": "Head's left subspace",
    "head_right": "Head's right subspace",
}
_GRID = np.linspace(0, 100, 101)
_MOST = 8
"""Layers in a legend, at most; labels of an axis."""
_SMALLEST = 1e-3
"""Degrees below which a scale of angles does not go: fp32's noise."""


def draw(report: Report) -> Figure:
    """Three rows: the ranks by module, the ranks by layer, the trajectory over the checkpoints."""
    figure = Figure(figsize=(15, 9.6), layout="constrained")
    grid = figure.add_gridspec(3, 5)
    modules = list(dict.fromkeys(row["module"] for row in report.rows))
    layers = sorted({row["layer"] for row in report.rows})
    keys = {
        "module": dict(
            zip(modules, _colours("tab10" if len(modules) <= 10 else "turbo", len(modules)), strict=True)
        ),
        "layer": dict(zip(layers, _colours("viridis", len(layers)), strict=True)),
    }
    for row, (key, colours) in enumerate(keys.items()):
        for column, (line, title) in enumerate(_LINES.items()):
            axes = figure.add_subplot(grid[row, column])
            heading(axes, title if key == "module" else "… by layer")
            _ranks(axes, line, report, key, colours)
            if column == 0:
                axes.legend(fontsize=6.5, ncols=2, handlelength=1.2)
    _trajectory(figure, grid, report, keys)
    figure.suptitle(
        f"Drift from {report.names[0]} to {report.names[-1]}", x=0.01, ha="left", fontweight="bold"
    )
    return figure


def _colours(scale: str, count: int) -> list[Any]:
    if scale == "tab10":
        return [mpl.colormaps[scale](i) for i in range(count)]
    return [mpl.colormaps[scale](x) for x in np.linspace(0.05, 0.9, count)]


def _ranks(axes: Axes, line: str, report: Report, key: str, colours: Mapping[Any, Any]) -> None:
    """One line for each module or layer, and a grey one for rounding."""
    last = len(report.names) - 2
    shown = list(colours)[:: -(-len(colours) // _MOST)] if key == "layer" else list(colours)
    for name, colour in colours.items():
        mine = [c for c in report.curves if c.step == last and getattr(c, key) == name]
        label = f"{key} {name}" if key == "layer" else name
        axes.plot(_GRID, _mean(mine, line), color=colour, lw=1.1, label=label if name in shown else None)
    floor = [curve for curve in report.curves if curve.step is None]
    axes.plot(_GRID, _mean(floor, line), color=GREY, ls=DASHED, lw=1.2, label="bf16 alone")
    axes.set_xlim(0, 100)
    axes.set_xlabel("principal angle of the head, %" if line.startswith("head") else "rank, %")
    if line == "ratio":
        _without_outliers(axes)
    else:
        axes.set_yscale("log")
        axes.set_ylabel("degrees")
    if not line.startswith("head"):
        _name_the_parts(axes)


def _without_outliers(axes: Axes) -> None:
    """Limits that the last few ranks, which are nearly null, do not set."""
    values = np.concatenate([line.get_ydata() for line in axes.lines])
    if np.isfinite(values).any():
        low, high = np.nanquantile(values, (0.02, 0.98))
        room = 0.4 * max(high - low, 1e-6)
        axes.set_ylim(low - room, high + room)


def _name_the_parts(axes: Axes) -> None:
    end = 100 * (END.share or 0)
    for edge in (end, 100 - end):
        axes.axvline(edge, color=GREY, lw=0.6, ls=":")
    for place, side, text in ((1, "left", "head"), (50, "center", "bulk"), (99, "right", "tail")):
        at = {"xycoords": ("data", "axes fraction"), "ha": side, "va": "bottom"}
        axes.annotate(text, (place, 0.01), fontsize=6.5, color=GREY, **at)


def _mean(curves: Iterable[Curve], line: str) -> NDArray[np.float64]:
    """The mean of some curves at equal shares of their ranks; NaN beyond what they know."""
    every = [np.full(len(_GRID), np.nan)]
    for curve in curves:
        values = np.array(getattr(curve, line), float)
        ranks = np.arange(len(values)) if line.startswith("head") else np.array(curve.ranks)
        count = len(values) if line.startswith("head") else curve.count
        known = ~np.isnan(values)
        if known.any():
            every.append(np.interp(_GRID, 100 * (ranks[known] + 0.5) / count, values[known]))
    return np.mean(every[1:], axis=0) if len(every) > 1 else every[0]


# -- over the checkpoints --------------------------------------------------------------------------------


def _trajectory(
    figure: Figure, grid: GridSpec, report: Report, keys: Mapping[str, Mapping[Any, Any]]
) -> None:
    """The head's angle by layer and by module on one scale, then update sparsity by module."""
    steps = range(len(report.names) - 1)
    maps = {key: _map(report.rows, key, list(names), steps, head_angle) for key, names in keys.items()}
    angles = np.concatenate([np.ravel(each) for each in maps.values()])
    known = angles[angles > _SMALLEST]
    low, high = (known.min(), known.max()) if len(known) else (_SMALLEST, 1)
    scale = LogNorm(low, max(high, 1.01 * low))
    labels = [name.replace("checkpoint-", "") for name in report.names[1:]]
    panels = []
    for place, key in ((grid[2, 0:2], "layer"), (grid[2, 2:4], "module")):
        axes = figure.add_subplot(place)
        heading(axes, f"Head's principal angle by {key}, mean of both sides")
        image = axes.imshow(np.maximum(maps[key], low), aspect="auto", norm=scale, cmap="magma")
        names = list(keys[key])
        every = -(-len(names) // _MOST) if key == "layer" else 1
        axes.set_yticks(range(0, len(names), every), [str(name) for name in names[::every]])
        axes.set_xticks(steps, labels, rotation=45, ha="right", fontsize=7)
        panels.append(axes)
    floor = fmean(head_angle(row["floor"]) for row in report.rows)
    bar = figure.colorbar(image, ax=panels, label=f"degrees; bf16 alone: {floor:.2g}")
    bar.ax.axhline(floor, color=GREY)
    axes = figure.add_subplot(grid[2, 4])
    heading(axes, "Unchanged in bf16")
    unchanged = QUANTITIES["unchanged"]
    shares = _map(report.rows, "module", list(keys["module"]), steps, lambda row: unchanged.of(row) or 0.0)
    for (_, colour), line in zip(keys["module"].items(), shares, strict=True):
        axes.plot(steps, 100 * line, color=colour, marker=".", ls="")
    alone = unchanged.mean(row["floor"] for row in report.rows) or 0.0
    axes.axhline(100 * alone, color=GREY, ls=DASHED, lw=1.2)
    axes.set_ylim(0, 104)
    axes.set_ylabel("%")
    every = -(-len(labels) // _MOST)
    axes.set_xticks(steps[::every], labels[::every], rotation=45, ha="right", fontsize=7)


def _map(
    rows: Sequence[Row], key: str, names: Sequence[Any], steps: range, number: Callable[[Row], float]
) -> NDArray[np.float64]:
    """Means over the matrices of each layer or module at each step: (names, steps)."""
    found = np.full((len(names), len(steps)), np.nan)
    for i, name in enumerate(names):
        for step in steps:
            mine = [number(row) for row in rows if row[key] == name and row["step"] == step]
            found[i, step] = np.mean(mine) if mine else np.nan
    return found
