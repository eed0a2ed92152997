"""A reproduction -> figures (matplotlib, the extra `plots`).

Thin lines and small marks are seeds; bold ones are their means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from points24.harness.analysis.recovery import Recovered
from points24.harness.analysis.statistics import t_interval
from points24.harness.experiment.findings import RECIPES
from points24.harness.experiment.manifest import TENTHS, Drift
from points24.harness.experiment.measures import Reproduction
from points24.harness.experiment.trainings import REGAINED
from points24.harness.records.record import Record
from points24.leaderboards.figures import CONTRAST, DRIFT, FRONT, OVERVIEW, RECOVERIES
from points24.leaderboards.render.drawing import (
    COLOURS,
    DASHED,
    GREY,
    INK,
    SIDES,
    SOURCE_STROKE,
    TARGET_STROKE,
    beside,
    heading,
    limits,
    look_of,
    sample,
    scale_steps,
)
from points24.leaderboards.reports.front import FrontPoint, front_figure, on_front, words
from points24.tasks.verdict import FLEXIBLE, STRICT, Verdict

_FAINT, _THIN, _BOLD = 0.4, 0.8, 2.0
_WRONG_RULE = "#d95f02"
_RULES = {
    "id": "ID: J, Q, K = 10, the rule of the training",
    "ood": "OOD: J, Q, K = 11, 12, 13, as the prompt says",
}
_ENDS = {"best OOD": SOURCE_STROKE, "SFT final": TARGET_STROKE}
_MEAN = "mean"
_FEW = 4
"""Points that make no curve."""
"""What has a side beside the hand sets: the harmonic mean."""
_BESIDE = 13
"""Points (1/72 inch) between a start of PPO and its final checkpoint: room for an arrow."""
_GRID: dict[str, Any] = {"color": "#e9ebee", "lw": 0.7, "zorder": 0}
_CHANGES: dict[str, tuple[str, Callable[[Drift], float]]] = {
    "misalignment, mean over the ranks": (
        look_of("directions").colour,
        lambda drift: fmean(drift.misalignment),
    ),
    "matrices, relative change": (GREY, lambda drift: drift.change),
    "singular values, relative change": (look_of("values").colour, lambda drift: drift.values),
}
_FROM = {"base": "-", "best OOD": DASHED}
_PAIR_COLOURS = (GREY, INK, "#aa3377", "#56b4e9", "#0b6e8f", "#1b9e77")
_PAIR_MARKERS = "osD^vP"

Points = Mapping[int, float]
"""Step -> percent."""


# -- parts of every figure -------------------------------------------------------------------------------


def _lines(axes: Axes, seeds: Sequence[Points], colour: str, **style: Any) -> None:
    """A thin line per seed and, in bold, their mean."""
    if len(seeds) > 1:
        for each in seeds:
            axes.plot(list(each), list(each.values()), color=colour, lw=_THIN, alpha=_FAINT, zorder=2)
    bold = {"color": colour, "lw": _BOLD, "solid_capstyle": "round", "zorder": 3} | style
    axes.plot(*_mean(seeds), **bold)


def _mean(seeds: Sequence[Points]) -> tuple[list[int], list[float]]:
    """The mean over the seeds, as x and y, at the steps that all have."""
    common = [step for step in seeds[0] if all(step in each for each in seeds)]
    return common, [fmean(each[step] for each in seeds) for step in common]


def _marks(axes: Axes, found: Reproduction, recipes: Sequence[str], side: str, *, upright: bool) -> None:
    """What `_shares` gives of each recipe, a column (upright) or a row each: small marks are seeds.

    Rows also show the mean's 95 % interval. Lines mark the best OOD and the final SFT checkpoint's mean.
    """

    def plot(values: Sequence[float], place: int, *marker: str, **style: Any) -> None:
        places = [place] * len(values)
        axes.plot(*((places, values) if upright else (values, places)), *marker, **style)

    for place, label in enumerate(recipes):
        checkpoints = _recovered(found, label)
        if not (shares := _shares(checkpoints, side)):
            continue
        look = look_of(checkpoints[0].recipe.method.kind)
        if not upright and (interval := t_interval(shares)):
            bounds = [max(0.0, interval.low), min(100.0, interval.high)]
            plot(bounds, place, color=look.colour, lw=1, alpha=0.7, zorder=1.5)
        if len(shares) > 1:
            plot(shares, place, look.marker, ms=3.5, color=look.colour, alpha=0.5, mew=0, zorder=3)
        plot([fmean(shares)], place, look.marker, ms=7, color=look.colour, mec="white", mew=0.8, zorder=4)
    for what, stroke in _ENDS.items() if side != _MEAN else ():
        mean = fmean(_percent(found.get(found.parts(seed)[what], side)) for seed in found.seeds)
        (axes.axhline if upright else axes.axvline)(mean, color=INK, lw=1, ls=stroke, zorder=1)


def _limit(row: Iterable[Axes]) -> None:
    """The y axis of panels that share it, from 0 to a little above what they show."""
    panels = list(row)
    panels[0].set_ylim(
        *limits(float(y) for axes in panels for line in axes.lines for y in np.ravel(line.get_ydata()))
    )
    for axes in panels:
        axes.grid(axis="y", **_GRID)


def _one_seed(found: Reproduction) -> list[Any]:
    return [sample("one seed", lw=_THIN, alpha=_FAINT)] if len(found.seeds) > 1 else []


def _accuracies(found: Reproduction, hand_set: str, name: str) -> list[Points]:
    """By SFT step; of a hand set that the run did not score, what was scored of its checkpoints elsewhere."""
    every = []
    for seed, each in zip(found.seeds, found.curves, strict=True):
        models = {0: found.manifest.base}
        models |= {step: f"{seed.sft}/checkpoint-{step}" for step in each[name].steps if step}
        scored = {step: found.find(model, hand_set, name) for step, model in sorted(models.items())}
        every.append({step: _percent(record) for step, record in scored.items() if record})
    return every


def _percent(record: Record) -> float:
    return 100 * record.k / record.n


def _recovered(found: Reproduction, label: str) -> list[Recovered]:
    """The checkpoints of a recipe, of each seed that has one."""
    every = [found.recovered(place, label) for place in range(len(found.seeds))]
    return [each for each in every if each is not None]


def _shares(checkpoints: Iterable[Recovered], side: str) -> list[float]:
    """Accuracy on hand set id or ood, or the harmonic mean (`_MEAN`), in percent."""
    if side == _MEAN:
        return [100 * each.shares.harmonic.value for each in checkpoints if each.shares.harmonic]
    scores = [each.ood if side == "ood" else each.id for each in checkpoints]
    return [100 * score.share for score in scores if score is not None]


# -- the overview ----------------------------------------------------------------------------------------


def overview_figure(found: Reproduction) -> Figure:
    """ID, OOD and wrong_rule over the SFT steps, the final PPO checkpoints, and the recovered ones beside."""
    recipes = [label for label in RECIPES if _recovered(found, label)]
    figure = Figure(figsize=(8.8 if recipes else 6.4, 7), layout="constrained")
    then = " or ".join(["PPO"] * bool(found.starts) + ["recovery"] * bool(recipes))
    title = f"SFT of {found.manifest.base} on the ID rule alone" + (f", then {then}" if then else "")
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(
        3, 2 if recipes else 1, sharex="col", sharey="row", squeeze=False,
        height_ratios=(3, 3, 1.5), width_ratios=(2.7, 1) if recipes else (1,),
    )  # fmt: skip
    for row, hand_set in zip(grid, _RULES, strict=False):
        heading(row[0], _RULES[hand_set], COLOURS[hand_set])
        _over_steps(row[0], found, hand_set)
        for axes in row[1:]:
            _beside(axes, found, recipes, hand_set)
        row[0].set_ylabel("accuracy, %")
        _limit(row)
    below = grid[2][0]
    heading(below, "Memorised rule: OOD replies that are right only if J, Q, K = 10", _WRONG_RULE)
    curves = [each[STRICT].ood for each in found.curves]
    wrong = [
        {step: 100 * (record.verdict_share(Verdict.WRONG_RULE) or 0) for step, record in each.items()}
        for each in curves
    ]
    _lines(below, wrong, _WRONG_RULE)
    below.set_ylabel("replies, %")
    _limit([below])
    below.set_xlabel("SFT step")
    scale_steps(below, sorted({step for each in found.curves for step in each[STRICT].steps}))
    if recipes:
        heading(grid[0][1], "Recovered: best OOD\ninto SFT final")
        grid[2][1].set_axis_off()
        _name_recipes(grid[1][1], recipes)
    handles = _overview_handles(found, has_recipes=bool(recipes))
    figure.legend(handles=handles, loc="outside lower center", ncols=2 + bool(recipes))
    return figure


def _over_steps(axes: Axes, found: Reproduction, hand_set: str) -> None:
    """Accuracy over the SFT steps, the best OOD checkpoints, and where PPO leads."""
    colour = COLOURS[hand_set]
    _lines(axes, _accuracies(found, hand_set, STRICT), colour)
    axes.plot(*_mean(_accuracies(found, hand_set, FLEXIBLE)), color=colour, lw=1.2, ls=DASHED, zorder=2.5)
    for seed in found.seeds:
        best = found.get(seed.best_ood, hand_set)
        axes.plot(best.step or 0, _percent(best), "*", ms=11, mec="white", mew=0.6, color=INK, zorder=4)
    moved = beside(axes, _BESIDE)
    for start in found.starts:
        firsts = [found.get(seed.ppo[start].start, hand_set) for seed in found.seeds]
        finals = [_percent(found.get(seed.ppo[start].final, hand_set)) for seed in found.seeds]
        steps = [first.step or 0 for first in firsts]
        small: dict[str, Any] = {"ms": 3, "color": INK, "alpha": _FAINT, "mew": 0, "ls": ""}
        axes.plot(steps, finals, "D", transform=moved, zorder=4, **small)
        step, low, high = median(steps), fmean(map(_percent, firsts)), fmean(finals)
        axes.annotate(
            "", (step, high), (step, low), xycoords=moved, textcoords=axes.transData, zorder=5,
            arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.1, "shrinkA": 0, "shrinkB": 3.5},
        )  # fmt: skip
        axes.plot(step, high, "D", ms=5.5, mfc="white", mec=INK, mew=1.2, transform=moved, zorder=6)


def _beside(axes: Axes, found: Reproduction, recipes: Sequence[str], hand_set: str) -> None:
    """The recipes that the findings need, a column each."""
    _marks(axes, found, recipes, hand_set, upright=True)
    axes.set_xlim(-0.6, len(recipes) - 0.4)
    axes.tick_params(labelleft=False)


def _name_recipes(axes: Axes, recipes: Sequence[str]) -> None:
    """The recipes' names below a panel, in the empty cell under it."""
    names = [
        label.replace("all ranks, ", "").replace("directions, top 4096 ranks, ", "").replace(", ", "\n")
        for label in recipes
    ]
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7.5)
    axes.tick_params(labelbottom=True)
    for text in axes.get_xticklabels():
        text.set_in_layout(False)


def _overview_handles(found: Reproduction, *, has_recipes: bool) -> list[Any]:
    line = "mean over the seeds" if len(found.seeds) > 1 else "the seed"
    handles = [sample(line, lw=_BOLD), sample(f"{line}, replies in any format", lw=1.2, ls=DASHED)]
    handles += [*_one_seed(found), sample("best OOD checkpoint", marker="*", ms=10, ls="")]
    if found.starts:
        handles.append(sample("PPO, from start to final", marker="D", mfc="white", ms=5.5, lw=1.1))
    if has_recipes:
        labels = zip(_ENDS.values(), ("best OOD, the source", "SFT final, the target"), strict=True)
        handles += [sample(label, lw=1, ls=stroke) for stroke, label in labels]
    return handles


# -- several side by side --------------------------------------------------------------------------------


def contrast_figure(found: Sequence[Reproduction]) -> Figure:
    """ID, held-out and OOD accuracy of each experiment over its SFT steps, and what regains OOD accuracy."""
    figure = Figure(figsize=(5.6 * len(found), 4.2), layout="constrained")
    panels = figure.subplots(
        1, 2 * len(found), sharey=True, squeeze=False, width_ratios=[3.6, 1] * len(found)
    )[0]  # fmt: skip
    for each, over_steps, regained in zip(found, panels[::2], panels[1::2], strict=True):
        heading(over_steps, f"{each.manifest.base}: SFT on the ID rule")
        for hand_set, colour in COLOURS.items():
            lines = _accuracies(each, hand_set, STRICT)
            if all(len(line) > _FEW for line in lines):
                _lines(over_steps, lines, colour)
            else:  # a line would claim what lies between
                over_steps.plot(*_mean(lines), "o", ms=6, color=colour, mec="white", mew=0.8, zorder=4)
        scale_steps(over_steps, sorted({step for curve in each.curves for step in curve[STRICT].steps}))
        over_steps.set_xlabel("SFT step")
        over_steps.tick_params(axis="x", labelsize=7.5)  # half as wide as elsewhere
        heading(regained, "then OOD", COLOURS["ood"])
        _regained(regained, each)
    panels[0].set_ylabel("accuracy, %")
    _limit(panels)
    names = {"id": "ID", "id_heldout": "ID, held-out numbers", "ood": "OOD"}
    handles = [sample(label, color=COLOURS[name], lw=_BOLD) for name, label in names.items()]
    ends = zip(("OOD at its best", "OOD at the end of SFT"), _ENDS.values(), strict=True)
    handles += [sample(label, lw=1, ls=stroke) for label, stroke in ends]
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


def _regained(axes: Axes, found: Reproduction) -> None:
    """OOD accuracy after each of `REGAINED`: small marks are seeds, a large one their mean."""
    names = []
    for what, part in REGAINED.items():
        scores = [found.score(place, part, "ood") for place in range(len(found.seeds))]
        shares = [_percent(score) for score in scores if score is not None]
        if not shares:
            continue
        if len(shares) > 1:
            axes.plot([len(names)] * len(shares), shares, "o", ms=3.5, color=COLOURS["ood"], alpha=0.5, mew=0)
        axes.plot(len(names), fmean(shares), "o", ms=7, color=COLOURS["ood"], mec="white", mew=0.8, zorder=4)
        names.append(what)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_xlim(-0.6, max(1, len(names)) - 0.4)
    for what, stroke in _ENDS.items():
        ends = [found.get(found.parts(seed)[what], "ood") for seed in found.seeds]
        axes.axhline(fmean(map(_percent, ends)), color=INK, lw=1, ls=stroke, zorder=1)


# -- drift, recovery -------------------------------------------------------------------------------------


def drift_figure(found: Reproduction) -> Figure:
    """Misalignment by tenth of the ranks, a line for each pair of checkpoints, and over the SFT steps."""
    figure = Figure(figsize=(8.8, 4.4), layout="constrained")
    axes, over_steps = figure.subplots(1, 2, width_ratios=(1, 1.1))
    tenths = range(1, TENTHS + 1)
    for number, (pair, drifts) in enumerate(found.drift_pairs().items()):
        each = [dict(zip(tenths, drift.misalignment, strict=True)) for drift in drifts]
        style: dict[str, Any] = {"marker": _PAIR_MARKERS[number], "ms": 5, "mec": "white", "mew": 0.6}
        _lines(axes, each, _PAIR_COLOURS[number], label=pair, **style)
    axes.set_xticks(tenths, [f"{tenth}" for tenth in tenths])
    axes.set_xlabel("tenth of the ranks, largest singular values first")
    axes.set_ylabel("misalignment: 1 − |cosine|, less the floor")
    handles, _ = axes.get_legend_handles_labels()
    _drift_over_steps(over_steps, found)
    for panel in (axes, over_steps):
        panel.set_ylim(bottom=min(0, panel.get_ylim()[0]))
    figure.legend(handles=[*handles, *_one_seed(found)], loc="outside lower center", ncols=2)
    return figure


def _drift_over_steps(axes: Axes, found: Reproduction) -> None:
    """How far SFT has turned the singular vectors, and changed the matrices and the singular values."""
    for first, stroke in _FROM.items():
        drifts = found.drift_over_steps(first)
        for label, (colour, number) in _CHANGES.items():
            seeds = [
                dict(sorted(({start: 0.0} | {step: number(drift) for step, drift in each.items()}).items()))
                for start, each in drifts
            ]
            _lines(axes, seeds, colour, ls=stroke, label=label if first == "base" else None)
    axes.set_xlabel("SFT step")
    axes.set_ylabel("change since base or best OOD")
    scale_steps(axes, sorted({int(x) for line in axes.lines for x in np.ravel(line.get_xdata())}), room=0.07)
    handles, _ = axes.get_legend_handles_labels()
    handles += [sample(f"from {first}", lw=_BOLD, ls=stroke) for first, stroke in _FROM.items()]
    axes.legend(handles=handles, loc="upper left", fontsize=8)


def recipes_front_figure(found: Reproduction) -> Figure:
    """ID against OOD accuracy of every recipe, means over the seeds, with the Pareto front."""

    def mean(part: str) -> tuple[float, float]:
        models = [found.parts(seed)[part] for seed in found.seeds]
        return fmean(_percent(found.get(m, "id")) for m in models), fmean(
            _percent(found.get(m, "ood")) for m in models
        )

    named = {"source": ("source", *mean("best OOD")), "target": ("target", *mean("SFT final"))}
    kinds = dict(zip(named, named, strict=True))
    for label in found.recipes():
        checkpoints = _recovered(found, label)
        if of_id := _shares(checkpoints, "id"):
            recipe = checkpoints[0].recipe
            kinds[label] = recipe.method.kind
            named[label] = (
                words(recipe, crowded=True),
                fmean(of_id),
                fmean(_shares(checkpoints, "ood")),
            )
    fronts = on_front([(x, y) for _, x, y in named.values()])
    points = [
        FrontPoint(kinds[key], name, x, y, on)
        for (key, (name, x, y)), on in zip(named.items(), fronts, strict=True)
    ]
    over = f", mean of {len(found.seeds)} seeds" if len(found.seeds) > 1 else ""
    return front_figure(f"SFT final recovered from best OOD, strict-match{over}", points)


def recoveries_figure(found: Reproduction) -> Figure:
    """OOD and ID accuracy of every recipe, and the harmonic mean where defined: seeds, mean, interval."""
    labels = found.recipes()[::-1]
    figure = Figure(figsize=(8.8, 1.4 + 0.22 * len(labels)), layout="constrained")
    sides = {
        side: title
        for side, title in {**SIDES, _MEAN: "harmonic mean"}.items()
        if any(_shares(_recovered(found, label), side) for label in labels)
    }
    panels = figure.subplots(1, len(sides), sharey=True, squeeze=False)[0]
    for axes, (side, title) in zip(panels, sides.items(), strict=True):
        _marks(axes, found, labels, side, upright=False)
        shown = [float(x) for line in axes.lines for x in np.ravel(np.asarray(line.get_xdata(), float))]
        axes.set_xlim(*limits(shown, from_zero=side != "id"))
        heading(axes, title, COLOURS.get(side, INK))
        axes.set_xlabel("%" if side == _MEAN else "accuracy, %")
        axes.grid(axis="y", **_GRID)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(labels)), labels, fontsize=8)
    panels[0].set_ylim(-0.6, len(labels) - 0.4)
    handles = [sample(f"{what}, mean", lw=1, ls=stroke) for what, stroke in _ENDS.items()]
    if len(found.seeds) > 1:
        handles.append(sample("one seed", marker="o", ms=3.5, ls="", alpha=0.5, mew=0))
        handles.append(sample("mean, 95 % over the seeds", marker="o", ms=7, lw=1, mec="white"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


DRAW: dict[str, Callable[[Any], Figure]] = {
    CONTRAST: contrast_figure,
    OVERVIEW: overview_figure,
    DRIFT: drift_figure,
    FRONT: recipes_front_figure,
    RECOVERIES: recoveries_figure,
}
"""By the kind of a `Plot`."""
