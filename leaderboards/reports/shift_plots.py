"""Shift records -> a figure (matplotlib, the extra `plots`): what a model believes, step by step.

Thin lines are runs, bold ones their means.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from points24.harness.analysis.foretelling import (
    ID_ACCURACY,
    ID_LOSS,
    PREFERENCE,
    TASKS,
    TRAINING_LOSS,
    Shifts,
    Trajectory,
)
from points24.harness.experiment.measures import Reproduction
from points24.harness.records.shift import Layer, ShiftRecord
from points24.leaderboards.render.drawing import COLOURS, DASHED, GREY, INK, heading, scale_steps

_FAINT = 0.35
_OTHER = "#d95f02"
_LOSSES = {
    "OOD, right replies": ("ood nll", COLOURS["ood"], "-"),
    "OOD, replies by the memorised rule": ("ood nll_rival", _OTHER, "-"),
    "ID, right replies": (ID_LOSS, COLOURS["id"], "-"),
    "training": (TRAINING_LOSS, GREY, DASHED),
}
_PREFERENCES = {
    "whole reply": (PREFERENCE, INK, "-"),
    "numbers: reading the cards": ("ood preference_numbers", COLOURS["ood"], DASHED),
    "formula: the search": ("ood preference_formula", COLOURS["id_heldout"], DASHED),
}
_DIVERGENCES = {
    "OOD, the base's samples": ("ood kl_samples", COLOURS["ood"], "-"),
    "ID, the base's samples": ("id kl_samples", COLOURS["id"], "-"),
    "OOD, right replies": ("ood kl_reference", COLOURS["ood"], DASHED),
    "ID, right replies": ("id kl_reference", COLOURS["id"], DASHED),
}
_Lines = dict[str, tuple[str, str, Any]]
"""Label -> (key of a quantity, colour, stroke)."""


def draw(found: Shifts | Reproduction) -> Figure:
    """The figure of shift records, or of those of a reproduction."""
    return shift_figure(found.shifts if isinstance(found, Reproduction) else found)


def shift_figure(found: Shifts) -> Figure:
    """Accuracy, rule preference, losses and divergence from the base over the steps; the hidden states."""
    figure = Figure(figsize=(8.8, 7.6), layout="constrained")
    grid = figure.add_gridspec(3, 2, width_ratios=(1.25, 1))
    over_steps = [figure.add_subplot(grid[row, 0]) for row in range(3)] + [figure.add_subplot(grid[0, 1])]
    accuracy, preference, losses, divergence = over_steps
    _accuracies(accuracy, found.runs)
    heading(preference, "Rule preference: stated less memorised rule")
    preference.axhline(0, color=GREY, lw=0.8, zorder=1)
    _quantities(preference, found.runs, _PREFERENCES)
    preference.set_ylabel("nats a deal")
    heading(losses, "Losses")
    _quantities(losses, found.runs, _LOSSES)
    losses.set_ylabel("nats a token")
    losses.margins(y=0.3)  # room for the legend
    heading(divergence, "KL(base ‖ checkpoint)")
    _quantities(divergence, found.runs, _DIVERGENCES)
    divergence.set_ylabel("nats a token")
    steps = sorted({step for run in found.runs for step in run.steps})
    for axes in over_steps:
        scale_steps(axes, steps, room=0.07)
        axes.set_xlim(left=0.8 * steps[0])
        if axes.lines:
            axes.legend(fontsize=7.5)
        else:
            axes.set_axis_off()
    for axes in (losses, divergence):
        axes.set_xlabel("training step")
    if any(each.layers for each in found.records):
        _states(figure.add_subplot(grid[1:, 1]), found)
    return figure


def _accuracies(axes: Axes, runs: Sequence[Trajectory]) -> None:
    heading(axes, "Accuracy")
    _lines(axes, runs, [[100 * p.value for p in run.ood] for run in runs], color=COLOURS["ood"], label="OOD")
    if all(ID_ACCURACY in run.quantities for run in runs):
        values = [[100 * p.value for p in run.quantities[ID_ACCURACY]] for run in runs]
        _lines(axes, runs, values, color=COLOURS["id"], label="ID")
    axes.set_ylabel("%")
    axes.set_ylim(bottom=-2)


def _quantities(axes: Axes, runs: Sequence[Trajectory], lines: _Lines) -> None:
    for label, (key, colour, stroke) in lines.items():
        if all(key in run.quantities for run in runs):
            values = [[point.value for point in run.quantities[key]] for run in runs]
            _lines(axes, runs, values, color=colour, ls=stroke, label=label)


def _lines(axes: Axes, runs: Sequence[Trajectory], values: Sequence[Sequence[float]], **bold: Any) -> None:
    """A thin line per run and, in bold, their mean at the steps that all have."""
    if len(runs) > 1:
        for run, each in zip(runs, values, strict=True):
            axes.plot(run.steps, each, color=bold["color"], lw=0.8, alpha=_FAINT, zorder=2)
    common = sorted(set.intersection(*(set(run.steps) for run in runs)))
    means = [
        fmean(each[run.steps.index(step)] for run, each in zip(runs, values, strict=True)) for step in common
    ]
    axes.plot(common, means, lw=2, zorder=3, **bold)


def _states(axes: Axes, found: Shifts) -> None:
    """The last layer's centroids over the steps, in the plane of the base, with the spread at both ends."""
    heading(axes, "Last layer, last prompt token")
    for side, task in TASKS.items():
        colour = COLOURS[side]
        base = next((each for each in found.records if each.step == 0 and each.task == task), None)
        start = _last(base) if base else None
        paths = []
        for run in found.runs:
            mine = {each.step: _last(each) for each in found.records if _is_of(each, run.run, task)}
            path = [layer for step in run.steps if (layer := mine.get(step)) is not None]
            paths.append(([start] if start else []) + path)
        if not all(paths) or len({len(path) for path in paths}) > 1:
            continue
        for path in paths if len(paths) > 1 else ():
            axes.plot(*_points(path), color=colour, lw=0.8, alpha=_FAINT, zorder=2)
        means = np.mean([_points(path) for path in paths], axis=0)
        axes.plot(*means, color=colour, lw=2, marker="o", ms=3, label=side.upper(), zorder=3)
        if start:
            _ellipse(axes, start, colour, ls=DASHED)
            axes.plot(*means[:, 0], "o", ms=7, mfc="white", mec=colour, zorder=4)
        _ellipse(axes, paths[0][-1], colour, ls="-")
        axes.plot(*means[:, -1], "X", ms=8, color=colour, mec="white", zorder=4)
    axes.set_xlabel("along the base's axis: ID centroid 0, OOD centroid 1")
    axes.set_ylabel("across it")
    axes.set_aspect("equal", adjustable="datalim")
    axes.plot([], [], "o", ms=7, mfc="white", mec=INK, label="base")
    axes.plot([], [], "X", ms=8, color=INK, mec="white", label="final; ellipses: 1 sd of the deals")
    axes.legend(fontsize=7.5, loc="lower right", frameon=True, framealpha=0.85, edgecolor="none")


def _is_of(record: ShiftRecord, run: str, task: str) -> bool:
    return record.task == task and record.model.rpartition("/")[0] == run


def _last(record: ShiftRecord) -> Layer | None:
    layer = record.layers[-1] if record.layers else None
    return layer if layer and layer.centroid and layer.spread else None


def _points(path: Sequence[Layer]) -> tuple[list[float], list[float]]:
    places = [layer.centroid or (0.0, 0.0) for layer in path]
    return [x for x, _ in places], [y for _, y in places]


def _ellipse(axes: Axes, layer: Layer, colour: str, **style: Any) -> None:
    """One standard deviation of the deals around a centroid."""
    if layer.centroid is None or layer.spread is None:
        return
    xx, xy, yy = layer.spread
    values, vectors = np.linalg.eigh(np.array([[xx, xy], [xy, yy]]))
    height, width = 2 * np.sqrt(np.maximum(values, 0))
    angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
    axes.add_patch(
        Ellipse(layer.centroid, width, height, angle=angle, fc=colour, ec=colour, alpha=0.12, lw=0, zorder=1)
    )
    axes.add_patch(
        Ellipse(layer.centroid, width, height, angle=angle, fc="none", ec=colour, lw=1, zorder=2, **style)
    )
