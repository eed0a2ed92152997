"""Recoveries -> figures (the extra `plots`): accuracy over the share restored, and the Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from points24.harness.analysis.comparison import Score
from points24.harness.analysis.recovery import Recovered, Recovery, Reference
from points24.harness.analysis.recovery_summaries import recovery_title
from points24.leaderboards.render.drawing import (
    INK,
    SIDES,
    SOURCE_STROKE,
    TARGET_STROKE,
    beside,
    limits,
    look_of,
    sample,
)
from points24.leaderboards.reports.front import NAMED_UP_TO, FrontPoint, front_figure, words
from points24.leaderboards.reports.recovery_series import (
    Series,
    layers_series,
    ranks_series,
    weight_series,
)

_FILLS = ("full", "left", "right", "none")
"""How markers are filled: one series for each variant of a kind."""
_STROKES = {"tail": "--", "last": "--", "top + tail": "-."}
_ENDS = {"source": SOURCE_STROKE, "target": TARGET_STROKE}
_DODGE, _SPREAD = 3.0, 14.0
"""Points (1/72 inch) between the series at one x, so that intervals stay visible; and between all of them."""
_CROWDED = 10
"""Shares below this percentage crowd at the start of an axis, which then shows their square roots."""
_TICKS = (0, 1, 5, 10, 20, 50, 100)


def ranks_figure(found: Recovery) -> Figure:
    """Accuracy over the share of ranks; baselines over their weight beside it."""
    return _curves(found, ranks_series(found), "ranks restored (all layers), %", weight_series(found))


def layers_figure(found: Recovery) -> Figure:
    """Accuracy over the share of layers."""
    return _curves(found, layers_series(found), "layers restored (all ranks), %", [])


# -- accuracy against what is restored -------------------------------------------------------------------


def _curves(found: Recovery, series: Sequence[Series], xlabel: str, beside: Sequence[Series]) -> Figure:
    """OOD above, ID below where it was scored; baselines with a weight in a column of their own."""
    sides = [side for side in SIDES if side == "ood" or any(r.id for each in series for _, r in each.points)]
    figure = Figure(figsize=(7.6, 1.4 + 2.2 * len(sides)), layout="constrained")
    figure.suptitle(recovery_title(found), fontsize=9)
    widths = (3, 1) if beside else (3,)
    grid = figure.subplots(
        len(sides), len(widths), sharex="col", sharey="row", width_ratios=widths, squeeze=False
    )
    for side, row in zip(sides, grid, strict=True):
        shown = [value for end in _ENDS for value in _reference(row, found, end, side)]
        for axes, lines in zip(row, (series, beside), strict=False):
            shown += _accuracies(axes, found, lines, side)
        row[0].set_ylabel(f"{SIDES[side]} accuracy, %")
        row[0].set_ylim(*limits(shown, from_zero=side == "ood"))
    below = grid[-1]
    below[0].set_xlabel(xlabel)
    if any(100 * x < _CROWDED for each in series for x, _ in each.points):
        roots = lambda x: np.sign(x) * np.sqrt(np.abs(x)), lambda x: np.sign(x) * np.square(x)
        below[0].set_xscale("function", functions=roots)
        below[0].set_xticks(_TICKS)
        below[0].set_xlim(-0.1, 106)
    else:
        below[0].set_xlim(-4, 104)
    if beside:
        below[1].set_xlabel("baseline: weight")
        below[1].set_xlim(-0.15, 1.15)
    figure.legend(handles=_handles([*series, *beside]), loc="outside right center")
    return figure


def _reference(row: Sequence[Axes], found: Recovery, end: str, side: str) -> list[float]:
    """Source or target as a line with its 95 % band, in every panel of a row; returns the band's ends."""
    score = _of(getattr(found, end), side)
    if score is None:
        return []
    band = [100 * bound for bound in score.interval]
    for axes in row:
        axes.axhspan(*band, color=INK, alpha=0.1, lw=0)
        axes.axhline(100 * score.share, color=INK, lw=1, ls=_ENDS[end])
    return band


def _accuracies(axes: Axes, found: Recovery, series: Sequence[Series], side: str) -> list[float]:
    """The series of one panel, each a little beside the others; returns the ends of their intervals."""
    shown = []
    dodge = min(_DODGE, _SPREAD / max(1, len(series)))
    for number, each in enumerate(series):
        scale = 100 if each.recipe.weight is None else 1
        points = [(scale * x, score) for x, r in each.points if (score := _of(r, side))]
        if not points:
            continue
        look = look_of(each.kind)
        shift = dodge * (number - (len(series) - 1) / 2)
        style: dict[str, Any] = {"color": look.colour, "transform": beside(axes, shift)}
        axes.errorbar(
            [x for x, _ in points],
            [100 * score.share for _, score in points],
            yerr=np.transpose([_arms(score) for _, score in points]),
            ls="", marker=look.marker, ms=5, elinewidth=1, label=each.label,
            fillstyle=_fill(each, series), markerfacecoloralt="white", **style,
        )  # fmt: skip
        line = _line(found, side, each, [(x, 100 * score.share) for x, score in points])
        if len(line) > 1:
            axes.plot(*zip(*line, strict=True), ls=_stroke(each), lw=1.2, zorder=1.5, **style)
        shown += [100 * bound for _, score in points for bound in score.interval]
        shown += [y for _, y in line]
    return shown


def _line(
    found: Recovery, side: str, each: Series, points: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """The points (x, percent) that a series' line joins: its own, from the target (nothing restored) on.

    Where weight 1 is the source, the line goes on to it. One measured share has no line: nobody has measured
    what lies between it and the target.
    """
    line = list(points)
    source, target = _of(found.source, side), _of(found.target, side)
    if each.recipe.method.ends_at_source:
        if source and line[-1][0] < 1:
            line.append((1, 100 * source.share))
    elif len(line) == 1:
        return line
    return [(0, 100 * target.share), *line] if target else line


def _handles(series: Sequence[Series]) -> list[Any]:
    handles: list[Any] = []
    for each in series:
        look = look_of(each.kind)
        has_line = len(each.points) > 1 or each.recipe.method.ends_at_source
        style: dict[str, Any] = {"color": look.colour, "marker": look.marker, "ms": 5}
        style |= {"fillstyle": _fill(each, series), "markerfacecoloralt": "white"}
        handles.append(sample(each.label, ls=_stroke(each) if has_line else "", **style))
    handles += [sample(end, lw=1, ls=stroke) for end, stroke in _ENDS.items()]
    return [*handles, Patch(color=INK, alpha=0.1, lw=0, label="their 95 % intervals")]


def _stroke(each: Series) -> Any:
    return _STROKES.get(each.end, "-")


def _fill(each: Series, series: Sequence[Series]) -> Any:
    variants = list(dict.fromkeys(s.variant for s in series if s.kind == each.kind))
    return _FILLS[variants.index(each.variant) % len(_FILLS)]


def _of(point: Reference | Recovered, side: str) -> Score | None:
    return point.ood if side == "ood" else point.id


def _arms(score: Score) -> list[float]:
    """How far the interval reaches below and above the accuracy, in points."""
    return [100 * (score.share - score.interval.low), 100 * (score.interval.high - score.share)]


def pareto_figure(found: Recovery) -> Figure:
    """ID against OOD accuracy with 95 % intervals, and the Pareto front."""
    ends: list[tuple[Reference | Recovered, str, str]] = [
        (found.source, "source", "source"),
        (found.target, "target", "target"),
    ]
    crowded = len(ends) + len(found.checkpoints) > NAMED_UP_TO
    made = [(r, r.recipe.method.kind, words(r.recipe, crowded=crowded)) for r in found.checkpoints]
    points = [
        FrontPoint(
            kind,
            name,
            100 * each.id.share,
            100 * each.ood.share,
            each.on_front,
            _arms(each.id),
            _arms(each.ood),
        )
        for each, kind, name in [*ends, *made]
        if each.id
    ]
    return front_figure(recovery_title(found), points)


DRAW: dict[str, Callable[[Any], Figure]] = {
    "ranks": ranks_figure,
    "layers": layers_figure,
    "front": pareto_figure,
}
"""By the kind of a `Plot`."""
