"""Recovered checkpoints by ID and OOD accuracy, with their Pareto front (the extra `plots`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from points24.harness.analysis.retention import harmonic_mean
from points24.harness.recovery.recipe import Recipe
from points24.leaderboards.render.drawing import look_of, sample
from points24.leaderboards.reports.recovery_series import kind_order

_SHADE, _SHADE_EDGE = "#f0f1f3", "#9aa0a6"
NAMED_UP_TO = 24
"""With more points, only the ends, the front and the best of each kind are named, without intervals."""
_REACH = 3
"""Where points are many, the ID axis begins so many times the distance of the ends below the lower one."""
_LEVELS = (0.25, 0.5, 0.75)
"""Harmonic means that have a line."""
_ENDS = ("source", "target")


class FrontPoint(NamedTuple):
    """A checkpoint; accuracies in percent."""

    kind: str
    """What a recipe restores, or its method; or one of ``source`` and ``target``."""
    name: str
    id: float
    ood: float
    on_front: bool
    id_arms: Sequence[float] = ()
    """How far the interval reaches below and above, in points; empty for none."""
    ood_arms: Sequence[float] = ()


def front_figure(title: str, points: Sequence[FrontPoint]) -> Figure:
    """Every point, lines of equal harmonic mean, and what the front dominates."""
    figure = Figure(figsize=(7.6, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=9)
    crowded = len(points) > NAMED_UP_TO
    if crowded:
        every, points = points, _near(points)
        if far := len(every) - len(points):
            axes.set_title(f"{title}\n{far} with far lower ID accuracy not shown", fontsize=9)
    for point in points:
        _mark(axes, point, with_arms=not crowded)
    axes.set(xlabel="ID accuracy, %", ylabel="OOD accuracy, %")
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    _draw_front(axes, sorted((point.id, point.ood) for point in points if point.on_front))
    has_means = _draw_means(axes, points)
    axes.legend(
        handles=_handles(points, has_means=has_means), loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8
    )
    best = _best(points)
    named = [p for p in points if not crowded or p.on_front or p.kind in _ENDS or p in best]
    names = [axes.text(p.id, p.ood, p.name, color=look_of(p.kind).colour, fontsize=8) for p in named]
    figure.draw_without_rendering()  # fixes the panel's place, by which names are moved apart
    # A limit of iterations, where the default is one of time, gives the same figure on every run.
    adjust_text(
        names, [p.id for p in points], [p.ood for p in points], ax=axes, iter_lim=500, expand=(1.4, 1.7),
        force_text=(0.3, 0.5), arrowprops={"arrowstyle": "-", "lw": 0.5, "color": _SHADE_EDGE},
    )  # fmt: skip
    return figure


def words(recipe: Recipe, *, crowded: bool) -> str:
    """A recipe's name in the figure: its settings alone where the legend is enough to tell its kind."""
    if not crowded:
        return recipe.short
    return recipe.label if recipe.method.is_baseline else f"{recipe.method.kind}, {recipe.short}"


def on_front(places: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether nothing else is as good on both coordinates and better on one."""
    return [
        not any(other != place and other[0] >= place[0] and other[1] >= place[1] for other in places)
        for place in places
    ]


def _near(points: Sequence[FrontPoint]) -> list[FrontPoint]:
    """Those whose ID accuracy is not far below both ends."""
    ids = [point.id for point in points if point.kind in _ENDS]
    edge = min(ids) - _REACH * (max(ids) - min(ids)) if ids else -1
    return [point for point in points if point.id >= edge]


def _scale(points: Sequence[FrontPoint]) -> tuple[FrontPoint, FrontPoint] | None:
    """Source and target, where the target lost on OOD and gained on ID."""
    ends = {point.kind: point for point in points if point.kind in _ENDS}
    if len(ends) < len(_ENDS):
        return None
    source, target = ends["source"], ends["target"]
    return (source, target) if source.ood > target.ood and target.id > source.id else None


def _mean(points: Sequence[FrontPoint], of_id: Any, ood: Any) -> Any:
    """The harmonic mean at accuracies; 0 where it is not defined."""
    if (ends := _scale(points)) is None:
        return 0 * of_id * ood
    source, target = ends
    recovered = (ood - target.ood) / (source.ood - target.ood)
    return harmonic_mean(recovered, (of_id - source.id) / (target.id - source.id))


def _best(points: Sequence[FrontPoint]) -> list[FrontPoint]:
    """The best of each kind."""
    best: dict[str, FrontPoint] = {}
    for point in sorted(points, key=lambda p: (-_mean(points, p.id, p.ood), -p.ood)):
        best.setdefault(point.kind, point)
    return list(best.values())


def _mark(axes: Axes, point: FrontPoint, *, with_arms: bool) -> None:
    """A point with its interval in both directions; hollow where it is not on the front."""
    look = look_of(point.kind)
    axes.errorbar(
        [point.id],
        [point.ood],
        xerr=np.transpose([point.id_arms]) if with_arms and point.id_arms else None,
        yerr=np.transpose([point.ood_arms]) if with_arms and point.ood_arms else None,
        marker=look.marker, ms=9 if look.marker == "*" else 6,
        color=look.colour, ecolor=(look.colour, 0.45), elinewidth=1,
        mfc=look.colour if point.on_front else "white",
    )  # fmt: skip


def _draw_front(axes: Axes, front: Sequence[tuple[float, float]]) -> None:
    """Shade what the front (ID, OOD; by ID) dominates, and draw its edge as stairs."""
    (left, right), bottom = axes.get_xlim(), axes.get_ylim()[0]
    xs = [left, *(x for x, _ in front)]
    ys = [front[0][1], *(y for _, y in front)]
    axes.fill_between(xs, ys, bottom, step="pre", color=_SHADE, lw=0, zorder=0)
    axes.plot(
        [*xs, xs[-1]], [*ys, bottom], color=_SHADE_EDGE, lw=1, ls="--", drawstyle="steps-pre", zorder=0.5
    )
    axes.set_xlim(left, right)
    axes.set_ylim(bottom=bottom)


def _draw_means(axes: Axes, points: Sequence[FrontPoint]) -> bool:
    """Lines of equal harmonic mean; whether it is defined."""
    if _scale(points) is None:
        return False
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    xs, ys = np.meshgrid(np.linspace(left, right, 120), np.linspace(bottom, top, 120))
    style: dict[str, Any] = {"colors": _SHADE_EDGE, "linewidths": 0.7, "linestyles": "dotted", "zorder": 0.6}
    lines = axes.contour(xs, ys, _mean(points, xs, ys), levels=_LEVELS, **style)
    axes.clabel(lines, fmt=lambda level: f"{100 * level:.0f} %", fontsize=7)
    return True


def _handles(points: Sequence[FrontPoint], *, has_means: bool) -> list[Any]:
    kinds = sorted(dict.fromkeys(point.kind for point in points), key=kind_order)
    handles: list[Any] = [
        sample(kind, color=look_of(kind).colour, marker=look_of(kind).marker, ls="") for kind in kinds
    ]
    handles += [
        sample("not on the front", color=_SHADE_EDGE, marker="o", mfc="white", ls=""),
        Patch(fc=_SHADE, ec=_SHADE_EDGE, ls="--", label="below the Pareto front"),
    ]
    if has_means:
        handles.append(sample("equal harmonic mean", color=_SHADE_EDGE, lw=0.7, ls="dotted"))
    return handles
