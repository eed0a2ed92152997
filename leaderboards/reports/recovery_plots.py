"""Recoveries -> figures (matplotlib, the extra `plots`): recovery curves, and the Pareto front."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import Bbox, ScaledTranslation

from points24.harness.analysis.recovery import Recovered, Recovery, Reference, Score
from points24.harness.analysis.summaries import recovery_title
from points24.leaderboards.render.drawing import LOOKS, STYLE, Look, file_stem, look_of, save_all

_VARIANTS = ("full", "left", "right", "none")
"""How markers are filled: a series per module choice, taper and so on."""
_STROKES = {"top": "-", "first": "-", "tail": "--", "last": "--", "top + tail": "-."}
_ENDS = {"source": ((0, (6, 2)), "#222222", "*"), "target": ((0, (1, 1.5)), "#222222", "X")}
_SHADE, _SHADE_EDGE = "#f0f1f3", "#9aa0a6"
_SIDE = {"ood": "OOD", "id": "ID"}
_DODGE, _SPREAD = 3.0, 14.0
"""Points (1/72 inch) between series that share an x, so that intervals show; and in all."""
_NAMED_UP_TO = 24
"""Points that the front names; of more, only the ends and those on it."""
_BESIDE_POINT = 8
"""So many of the first places for a name are close enough to its point to need no line."""
_CROWDED = 10
"""Shares below so many percent crowd at the start of an axis, which then goes by their square roots."""
_TICKS = (0, 1, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Series:
    """The repairs of one line, by x."""

    label: str
    kind: str
    variant: str
    stroke: str
    points: tuple[tuple[float, Recovered], ...]
    """x in 0 … 1, ascending."""


def ranks_series(found: Recovery) -> list[Series]:
    """Spectral repairs of all layers by the share of ranks: a line per kind and end of the spectrum."""
    chosen = [r for r in found.checkpoints if not r.recipe.is_baseline and r.recipe.layer_share == 1]
    return _series(chosen, lambda r: r.recipe.rank_share, _rank_end)


def layers_series(found: Recovery) -> list[Series]:
    """Spectral repairs of all ranks, and resets, by the share of layers: a line per kind and end."""
    chosen = [r for r in found.checkpoints if r.recipe.method.restores_whole_layers]
    return _series(chosen, lambda r: r.recipe.layer_share, lambda r: r.recipe.layers.end or "")


def weight_series(found: Recovery) -> list[Series]:
    """The baselines that have a weight, over all layers, by that."""
    chosen = [r for r in found.checkpoints if r.recipe.is_baseline and r.recipe.layer_share == 1]
    return _series(chosen, lambda r: r.recipe.weight, lambda _: "")


def ranks_figure(found: Recovery) -> Figure | None:
    """Accuracy over the share of ranks, weighted baselines beside it; None below two points."""
    return _curves(found, ranks_series(found), "ranks restored (all layers), %", weight_series(found))


def layers_figure(found: Recovery) -> Figure | None:
    """Accuracy over the share of layers; None below two points."""
    return _curves(found, layers_series(found), "layers restored (all ranks), %", [])


def front_figure(found: Recovery) -> Figure | None:
    """ID against OOD accuracy with 95 % intervals, and the Pareto front; None below two repairs."""
    repairs = [r for r in found.checkpoints if r.id]
    if len(repairs) < 2:
        return None
    figure = Figure(figsize=(7, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.set_title(recovery_title(found), fontsize=9)
    points: list[tuple[Reference | Recovered, str, Look, str]] = [
        (r, r.recipe.short, look_of(r.recipe.kind), r.recipe.kind) for r in repairs
    ]
    for what, end in (("source", found.source), ("target", found.target)):
        _, colour, marker = _ENDS[what]
        points.append((end, what, Look(colour, marker), what))
    front = sorted((100 * p.id.share, 100 * p.ood.share) for p, *_ in points if p.on_front and p.id)
    for point, _, look, _ in points:
        _cross(axes, point, look)
    axes.set(xlabel="ID accuracy, %", ylabel="OOD accuracy, %")
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    _draw_front(axes, front)
    kinds = {kind: look for _, _, look, kind in points}
    handles: list[Any] = [
        Line2D([], [], color=look.colour, marker=look.marker, ls="", label=kind)
        for kind, look in sorted(kinds.items(), key=lambda item: _rank(item[0]))
    ]
    handles += [
        Patch(fc=_SHADE, ec=_SHADE_EDGE, ls="--", label="up to the Pareto front"),
        Line2D([], [], color="#9aa0a6", marker="o", mfc="white", ls="", label="not on it"),
    ]
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5))
    named = [
        (point, name, look)
        for point, name, look, _ in reversed(points)  # the ends first
        if len(points) <= _NAMED_UP_TO or point.on_front or isinstance(point, Reference)
    ]
    _name_points(figure, axes, named, [point for point, *_ in points])
    return figure


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


def recovery_figures(found: Sequence[Recovery]) -> list[dict[str, Figure]]:
    """File name -> figure, for each recovery: of ranks, layers and front those that have points enough."""
    stems = [file_stem(f"recovery {r.target.name} from {r.source.name} {r.filter}") for r in found]
    drawn = []
    for number, (each, stem) in enumerate(zip(found, stems, strict=True)):
        if stems.count(stem) > 1:  # of another protocol, decoding, or name that reads the same
            stem = f"{stem}_{stems[:number].count(stem) + 1}"  # noqa: PLW2901
        figures = {"ranks": ranks_figure(each), "layers": layers_figure(each), "front": front_figure(each)}
        drawn.append({f"{stem}_{what}.svg": figure for what, figure in figures.items() if figure})
    return drawn


def write_recoveries(found: Sequence[Recovery], folder: Path) -> list[list[Path]]:
    """Write the figures of each recovery as SVG, and return their paths.

    Raises:
        InputError: a file cannot be written.
    """
    with mpl.rc_context(STYLE):
        return [save_all(figures, folder) for figures in recovery_figures(found)]


def _rank_end(repair: Recovered) -> str:
    parts = repair.recipe.ranks.parts if repair.recipe.ranks else ()
    return " + ".join(sorted({end for end, _ in parts}, reverse=True))


def _series(
    repairs: Sequence[Recovered], x: Callable[[Recovered], float | None], end: Callable[[Recovered], str]
) -> list[Series]:
    """A series per kind, variant and end; what is restored wholly (x = 1) closes every line of its kind."""
    groups: dict[tuple[str, str], dict[str, list[tuple[float, Recovered]]]] = defaultdict(dict)
    whole: dict[tuple[str, str], list[tuple[float, Recovered]]] = defaultdict(list)
    for repair in repairs:
        if (at := x(repair)) is None:
            continue
        key = repair.recipe.kind, repair.recipe.variant
        if at == 1:
            whole[key].append((at, repair))
        else:
            groups[key].setdefault(end(repair), []).append((at, repair))
    found = []
    for key in sorted({*groups, *whole}, key=lambda key: (_rank(key[0]), key)):
        for name, points in sorted(groups.get(key, {"": []}).items(), key=_stroke_order):
            label = ", ".join(filter(None, (key[0], name, key[1])))
            every = tuple(sorted([*points, *whole[key]], key=lambda point: point[0]))
            found.append(Series(label, *key, _STROKES.get(name, "-"), every))
    return found


def _stroke_order(item: tuple[str, Any]) -> int:
    return [*_STROKES, ""].index(item[0])


def _curves(
    found: Recovery, series: Sequence[Series], xlabel: str, beside: Sequence[Series]
) -> Figure | None:
    """OOD above, ID below where it was scored; weighted baselines in a column of their own."""
    if len({id(r) for each in series for _, r in each.points}) < 2:
        return None
    sides = [side for side in _SIDE if side == "ood" or any(r.id for each in series for _, r in each.points)]
    figure = Figure(figsize=(7.6, 1.4 + 2.2 * len(sides)), layout="constrained")
    figure.suptitle(recovery_title(found), fontsize=9)
    widths = (3, 1) if beside else (3,)
    grid = figure.subplots(
        len(sides), len(widths), sharex="col", sharey="row", width_ratios=widths, squeeze=False
    )
    for side, row in zip(sides, grid, strict=True):
        for axes, lines in zip(row, (series, beside), strict=False):
            _accuracies(axes, found, lines, side)
        row[0].set_ylabel(f"{_SIDE[side]} accuracy, %")
        if side == "ood":
            row[0].set_ylim(bottom=min(0, row[0].get_ylim()[0]))
    grid[-1][0].set_xlabel(xlabel)
    if any(100 * x < _CROWDED for each in series for x, _ in each.points):
        grid[-1][0].set_xscale("function", functions=(_signed_root, _signed_square))
        grid[-1][0].set_xticks(_TICKS)
        grid[-1][0].set_xlim(-0.1, 106)
    else:
        grid[-1][0].set_xlim(-4, 104)
    if beside:
        grid[-1][1].set_xlabel("baselines: weight")
    figure.legend(handles=_handles([*series, *beside]), loc="outside right center")
    return figure


def _signed_root(x: Any) -> Any:
    return np.sign(x) * np.sqrt(np.abs(x))


def _signed_square(x: Any) -> Any:
    return np.sign(x) * np.square(x)


def _accuracies(axes: Axes, found: Recovery, series: Sequence[Series], side: str) -> None:
    """One panel: the ends as lines with 95 % bands, the series from the target (nothing restored) on."""
    figure = axes.figure.get_figure(root=True)
    for what, end in (("source", found.source), ("target", found.target)):
        if score := _of(end, side):
            stroke, colour, _ = _ENDS[what]
            low, high = score.interval
            axes.axhspan(100 * low, 100 * high, color=colour, alpha=0.1, lw=0)
            axes.axhline(100 * score.share, color=colour, lw=1, ls=stroke)
    dodge = min(_DODGE, _SPREAD / max(1, len(series)))
    for number, each in enumerate(series):
        points = [(x if _has_weight(each) else 100 * x, s) for x, r in each.points if (s := _of(r, side))]
        if not points:
            continue
        shift = dodge * (number - (len(series) - 1) / 2)
        place = axes.transData + ScaledTranslation(shift / 72, 0, figure.dpi_scale_trans)
        look = look_of(each.kind)
        shares = [100 * score.share for _, score in points]
        bounds = [[100 * end for end in score.interval] for _, score in points]
        axes.errorbar(
            [x for x, _ in points],
            shares,
            yerr=[
                [share - low for share, (low, _) in zip(shares, bounds, strict=True)],
                [high - share for share, (_, high) in zip(shares, bounds, strict=True)],
            ],
            ls="",
            marker=look.marker,
            ms=5,
            color=look.colour,
            elinewidth=1,
            fillstyle=_fill(each, series),
            markerfacecoloralt="white",
            transform=place,
            label=each.label,
        )
        line = _anchored(found, side, each, [(x, 100 * score.share) for x, score in points])
        if len(line) > 1:
            axes.plot(
                *zip(*line, strict=True),
                ls=each.stroke,
                color=look.colour,
                lw=1.2,
                zorder=1.5,
                transform=place,
            )
        # Matplotlib's own limits leave out what is drawn beside its place.
        axes.update_datalim(
            [*line, *((x, end) for (x, _), ends in zip(points, bounds, strict=True) for end in ends)]
        )
    axes.autoscale_view()


def _anchored(
    found: Recovery, side: str, each: Series, points: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """The points (x, percent) of a line, with the ends that are of it: nothing restored is the target.

    A single point of a share has no line: that would say what lies between, which nobody has measured.
    """
    line = list(points)
    source, target = _of(found.source, side), _of(found.target, side)
    if _ends_at_source(each):
        if source and line[-1][0] < 1:
            line.append((1, 100 * source.share))
    elif len(line) == 1:
        return line
    return [(0, 100 * target.share), *line] if target else line


def _handles(series: Sequence[Series]) -> list[Any]:
    handles: list[Any] = [
        Line2D(
            [], [],
            color=look_of(each.kind).colour,
            marker=look_of(each.kind).marker,
            ms=5,
                ls=each.stroke if len(each.points) > 1 or _ends_at_source(each) else "",
            fillstyle=_fill(each, series),
            markerfacecoloralt="white",
            label=each.label,
        )
        for each in series
    ]  # fmt: skip
    handles += [
        Line2D([], [], color=colour, lw=1, ls=stroke, label=what)
        for what, (stroke, colour, _) in _ENDS.items()
    ]
    return [*handles, Patch(color="#222222", alpha=0.1, lw=0, label="their 95 %")]


def _fill(each: Series, series: Sequence[Series]) -> Any:
    variants = list(dict.fromkeys(s.variant for s in series if s.kind == each.kind))
    return _VARIANTS[variants.index(each.variant) % len(_VARIANTS)]


def _has_weight(each: Series) -> bool:
    return each.points[0][1].recipe.weight is not None


def _rank(kind: str) -> int:
    kinds = [*LOOKS]
    return kinds.index(kind) if kind in kinds else len(kinds)


def _of(point: Reference | Recovered, side: str) -> Score | None:
    return point.ood if side == "ood" else point.id


def _cross(axes: Axes, point: Reference | Recovered, look: Look) -> None:
    """A point with its interval in both directions; hollow where it is not on the front."""
    if point.id is None:
        return
    arms = [
        [[100 * (score.share - score.interval.low)], [100 * (score.interval.high - score.share)]]
        for score in (point.id, point.ood)
    ]
    axes.errorbar(
        [100 * point.id.share],
        [100 * point.ood.share],
        xerr=arms[0],
        yerr=arms[1],
        marker=look.marker,
        ms=9 if look.marker == "*" else 6,
        color=look.colour,
        ecolor=(look.colour, 0.45),
        elinewidth=1,
        mfc=look.colour if point.on_front else "white",
    )


def _name_points(
    figure: Figure,
    axes: Axes,
    named: Sequence[tuple[Reference | Recovered, str, Look]],
    points: Sequence[Reference | Recovered],
) -> None:
    """Names beside their points, each in the first place that covers no other name, point or interval arm."""
    figure.draw_without_rendering()  # puts the axes where they will be
    taken = [box for point in points for box in _boxes(axes, point)]
    names: list[Bbox] = []  # and what ties them to their points
    for point, name, look in named:
        if point.id is None:
            continue
        at = 100 * point.id.share, 100 * point.ood.share
        style: dict[str, Any] = {"textcoords": "offset points", "color": look.colour, "fontsize": 8}
        choices = []
        for number, (place, across, down) in enumerate(_places()):
            text = axes.annotate(name, at, xytext=place, ha=across, va=down, **style)
            box = text.get_window_extent()
            text.remove()
            tie = _tie(tuple(axes.transData.transform(at)), box) if number >= _BESIDE_POINT else []
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and axes.bbox.y0 <= box.y0
            on_names = box.count_overlaps(names) + sum(bit.count_overlaps(names) for bit in tie)
            covered = box.count_overlaps(taken) + (0 if inside and not on_names else len(taken))
            choices.append((covered, number, place, across, down, box, tie))
            if not covered:
                break
        *_, place, across, down, box, tie = min(choices, key=lambda choice: choice[:2])
        if tie:
            style["arrowprops"] = {"arrowstyle": "-", "lw": 0.5, "color": look.colour, "shrinkA": 0}
        axes.annotate(name, at, xytext=place, ha=across, va=down, **style)
        names += [box, *tie]


def _tie(point: Sequence[float], box: Bbox) -> list[Bbox]:
    """What a line from a point to its name covers, about; in pixels."""
    x, y = point
    middle_x, middle_y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    steps = [i / 20 for i in range(2, 20)]
    places = [(x + step * (middle_x - x), y + step * (middle_y - y)) for step in steps]
    return [Bbox([[a - 1, b - 1], [a + 1, b + 1]]) for a, b in places if not box.contains(a, b)]


def _places() -> Iterable[tuple[tuple[float, float], str, str]]:
    """Offsets in points, with alignment: in the four corners of a point's cross, ever farther away."""
    for far in (5, 12, 20, 30, 42, 56, 72):
        for up in (1, -1):
            for right in (1, -1):
                place = (max(5, far / 2) * right, far * up)
                yield place, "left" if right > 0 else "right", "bottom" if up > 0 else "top"


def _boxes(axes: Axes, point: Reference | Recovered) -> list[Bbox]:
    """What a point with its interval arms covers, in pixels."""
    if point.id is None:
        return []
    (left, right), (low, high) = point.id.interval, point.ood.interval
    x, y = axes.transData.transform((100 * point.id.share, 100 * point.ood.share))
    x0, y0 = axes.transData.transform((100 * left, 100 * low))
    x1, y1 = axes.transData.transform((100 * right, 100 * high))
    return [
        Bbox([[x - 5, y - 5], [x + 5, y + 5]]),
        Bbox([[x0, y - 1], [x1, y + 1]]),
        Bbox([[x - 1, y0], [x + 1, y1]]),
    ]


def _ends_at_source(each: Series) -> bool:
    return each.points[0][1].recipe.method.ends_at_source
