"""A reproduction -> figures (matplotlib, the extra `plots`).

Thin lines and small dots are seeds; bold ones are their means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import offset_copy

from points24.harness.analysis.recovery import Recovered
from points24.harness.analysis.statistics import t_interval
from points24.harness.experiment.findings import RECIPES
from points24.harness.experiment.manifest import TENTHS, Drift
from points24.harness.experiment.measures import FLEXIBLE, STRICT, Reproduction
from points24.harness.records.record import Record
from points24.leaderboards.render.drawing import COLOURS, STYLE, look_of, save, scale_steps
from points24.leaderboards.reports.reproduction import DRIFT, FORMAT, OVERVIEW, RECOVERIES
from points24.tasks.verdict import Verdict

_WRONG_RULE, _PPO = "#d95f02", "#222222"
_FAINT, _THIN, _BOLD = 0.4, 0.8, 2.0
_DASHED = (0, (4, 1.5))
_ENDS = {"best OOD": (0, (6, 2)), "SFT final": (0, (1, 1.5))}
_BESIDE = 13
"""Points (1/72 inch) between the start of PPO and its final checkpoint, so that the arrow shows."""
_GRID: dict[str, Any] = {"color": "#e9ebee", "lw": 0.7, "zorder": 0}
_SHORT = {"OOD": "ood", "ID": "id"}
_FARNESS: dict[str, tuple[str, Callable[[Drift], float]]] = {
    "misalignment, mean over the ranks": (
        look_of("directions").colour,
        lambda drift: fmean(drift.misalignment),
    ),
    "matrices, relative change": ("#6b6b6b", lambda drift: drift.change),
    "singular values, relative change": (look_of("values").colour, lambda drift: drift.values),
}
_STROKES = {"base": "-", "best OOD": _DASHED}
"""Of lines that tell what a checkpoint has drifted from."""
_DRIFTS = ("#6b6b6b", "#222222", "#aa3377", "#56b4e9", "#0b6e8f", "#1b9e77")
_MARKERS = "osD^vP"

Points = Mapping[int, float]
"""Step -> percent."""


def write(found: Reproduction, names: Iterable[str], folder: Path) -> list[Path]:
    """Write figures as SVG by their names, and return their paths.

    Raises:
        InputError: a file cannot be written.
    """
    draw: dict[str, Callable[[Reproduction], Figure]] = {
        OVERVIEW: overview_figure,
        FORMAT: format_figure,
        DRIFT: drift_figure,
        RECOVERIES: recoveries_figure,
    }
    paths = [folder / name for name in names]
    with mpl.rc_context(STYLE):
        for path in paths:
            save(draw[path.name](found), path)
    return paths


# -- the overview ----------------------------------------------------------------------------------------


def overview_figure(found: Reproduction) -> Figure:
    """ID, OOD and wrong_rule over the SFT steps, the final PPO checkpoints and the recovered ones."""
    recovered = any(found.recoveries)
    figure = Figure(figsize=(8.8 if recovered else 6.4, 7), layout="constrained")
    then = " or ".join(["PPO"] * bool(found.starts) + ["recovery"] * recovered)
    figure.suptitle(
        f"SFT of {found.manifest.base} on the ID rule alone" + (f", then {then}" if then else ""), fontsize=11
    )
    grid = figure.subplots(
        3, 2 if recovered else 1, sharex="col", sharey="row", squeeze=False,
        height_ratios=(3, 3, 1.5), width_ratios=(2.7, 1) if recovered else (1,),
    )  # fmt: skip
    titles = ("ID: J, Q, K = 10, the rule of the training", "OOD: J, Q, K = 11, 12, 13, as the prompt says")
    for row, hand_set, title in zip(grid, ("id", "ood"), titles, strict=False):
        row[0].set_title(title, loc="left", fontsize=9, fontweight="bold", color=COLOURS[hand_set])
        strict, flexible = (
            [_accuracies(each[name].scores[hand_set]) for each in found.curves] for name in (STRICT, FLEXIBLE)
        )
        _lines(row[0], strict, COLOURS[hand_set])
        row[0].plot(*_mean(flexible), color=COLOURS[hand_set], lw=1.2, ls=_DASHED, zorder=2.5)
        _mark_ppo(row[0], found, hand_set)
        for seed in found.seeds:
            best = found.get(seed.best_ood, hand_set)
            row[0].plot(
                best.step or 0, _percent(best), "*", ms=11, mec="white", mew=0.6, color=_PPO, zorder=4
            )
        if recovered:
            _recovered_beside(row[1], found, hand_set)
        row[0].set_ylabel("accuracy, %")
        row[0].set_ylim(*_limits(row))
        for axes in row:
            axes.grid(axis="y", **_GRID)
    below = grid[2][0]
    below.set_title(
        "Memorised rule: OOD replies that are right only if J, Q, K = 10",
        loc="left", fontsize=9, fontweight="bold", color=_WRONG_RULE,
    )  # fmt: skip
    shares = [
        {
            step: 100 * (record.verdict_share(Verdict.WRONG_RULE) or 0)
            for step, record in each[STRICT].ood.items()
        }
        for each in found.curves
    ]
    _lines(below, shares, _WRONG_RULE)
    below.set(xlabel="SFT step", ylabel="replies, %")
    below.grid(axis="y", **_GRID)
    below.set_ylim(*_limits([below]))
    scale_steps(below, sorted({step for each in found.curves for step in each[STRICT].steps}))
    if recovered:
        grid[0][1].set_title("recovered: best OOD\ninto SFT final", loc="left", fontsize=9, fontweight="bold")
        grid[2][1].set_axis_off()
        _hang_labels(grid[1][1], found)
    figure.legend(handles=_overview_handles(found), loc="outside lower center", ncols=2 + recovered)
    return figure


def _lines(axes: Axes, seeds: Sequence[Points], colour: str, **style: Any) -> None:
    """A thin line per seed and, over several, their mean in bold at the steps that all have."""
    bold = {"color": colour, "lw": _BOLD, "solid_capstyle": "round", "zorder": 3} | style
    if len(seeds) > 1:
        for each in seeds:
            axes.plot(list(each), list(each.values()), color=colour, lw=_THIN, alpha=_FAINT, zorder=2)
    axes.plot(*_mean(seeds), **bold)


def _mean(seeds: Sequence[Points]) -> tuple[list[int], list[float]]:
    """The mean over the seeds, as x and y, at the steps that all have."""
    common = [step for step in seeds[0] if all(step in each for each in seeds)]
    return common, [fmean(each[step] for each in seeds) for step in common]


def _mark_ppo(axes: Axes, found: Reproduction, hand_set: str) -> None:
    """From each start an arrow to the final checkpoint, a little to its right; a small diamond per seed."""
    figure = axes.figure.get_figure(root=True)
    beside = offset_copy(axes.transData, fig=figure, x=_BESIDE, units="points")
    for start in found.starts:
        firsts = [found.get(seed.ppo[start].start, hand_set) for seed in found.seeds]
        lasts = [found.get(seed.ppo[start].final, hand_set) for seed in found.seeds]
        steps = [first.step or 0 for first in firsts]
        if len(firsts) > 1:
            for step, last in zip(steps, lasts, strict=True):
                axes.plot(
                    step,
                    _percent(last),
                    "D",
                    ms=3,
                    color=_PPO,
                    alpha=_FAINT,
                    mew=0,
                    transform=beside,
                    zorder=4,
                )
        step = median(steps)
        low, high = fmean(map(_percent, firsts)), fmean(map(_percent, lasts))
        axes.annotate(
            "", (step, high), (step, low), xycoords=beside, textcoords=axes.transData, zorder=5,
            arrowprops={"arrowstyle": "-|>", "color": _PPO, "lw": 1.1, "shrinkA": 0, "shrinkB": 3.5},
        )  # fmt: skip
        axes.plot(step, high, "D", ms=5.5, mfc="white", mec=_PPO, mew=1.2, transform=beside, zorder=6)
        axes.update_datalim([(step, _percent(last)) for last in lasts])


def _recovered_beside(axes: Axes, found: Reproduction, hand_set: str) -> None:
    """The recipes of the findings, as columns of dots with the mean as a bar."""
    for place, label in enumerate(_shown_recipes(found)):
        shares = _recovered_shares(found, label, hand_set)
        if not shares:
            continue
        look = look_of(_kind(found, label))
        if len(shares) > 1:
            axes.plot(
                [place] * len(shares),
                shares,
                look.marker,
                ms=4,
                color=look.colour,
                alpha=0.55,
                mew=0,
                zorder=3,
            )
        axes.plot(
            place, fmean(shares), look.marker, ms=7.5, color=look.colour, mec="white", mew=0.8, zorder=4
        )
    _end_lines(axes.axhline, found, hand_set)
    axes.set_xlim(-0.6, len(_shown_recipes(found)) - 0.4)
    axes.tick_params(labelleft=False)


def _hang_labels(axes: Axes, found: Reproduction) -> None:
    """The recipes' names, below the lower of the panels; the cell under it is empty and has room for them."""
    labels = [
        label.replace(", ", "\n", 1).replace(", first", "\nfirst").replace("all ranks\n", "")
        for label in _shown_recipes(found)
    ]
    axes.set_xticks(
        range(len(labels)), [label.replace("% of", " % of") for label in labels], rotation=90, fontsize=7.5
    )
    axes.tick_params(labelbottom=True)
    for text in axes.get_xticklabels():
        text.set_in_layout(False)


def _overview_handles(found: Reproduction) -> list[Any]:
    several = len(found.seeds) > 1
    line = "mean over the seeds" if several else "the seed"
    star: dict[str, Any] = {"marker": "*", "ms": 10, "ls": "", "label": "best OOD checkpoint"}
    diamond = {
        "marker": "D",
        "mfc": "white",
        "ms": 5.5,
        "lw": 1.1,
        "label": "PPO, from start to final checkpoint",
    }
    handles = [Line2D([], [], color="#222222", lw=_BOLD, label=line)]
    handles += [Line2D([], [], color="#222222", lw=1.2, ls=_DASHED, label=f"{line}, replies in any format")]
    handles += [_one_seed()] * several
    handles += [Line2D([], [], color=_PPO, **look) for look in (star, *[diamond] * bool(found.starts))]
    if any(found.recoveries):
        labels = ("best OOD, the source", "SFT final, the target")
        handles += [
            Line2D([], [], color="#222222", lw=1, ls=stroke, label=label)
            for stroke, label in zip(_ENDS.values(), labels, strict=True)
        ]
    return handles


def _limits(row: Sequence[Axes]) -> tuple[float, float]:
    """From a little below 0, so that a line at 0 shows, to a little above all that a row of panels shows."""
    highest = max(float(np.max(line.get_ydata())) for axes in row for line in axes.lines)
    top = 1.1 * max(highest, 1.0)
    return -0.025 * top, top


# -- format ----------------------------------------------------------------------------------------------


def format_figure(found: Reproduction) -> Figure:
    """Strict against flexible over the SFT steps: what lies between is right, but not in the format."""
    figure = Figure(figsize=(7.6, 3.2), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, (title, hand_set) in zip(panels, _SHORT.items(), strict=True):
        means = []
        for name, stroke in ((STRICT, "-"), (FLEXIBLE, _DASHED)):
            seeds = [_accuracies(each[name].scores[hand_set]) for each in found.curves]
            _lines(axes, seeds, COLOURS[hand_set], ls=stroke)
            means.append(axes.lines[-1].get_data())
        (xs, low), (_, high) = means
        axes.fill_between(xs, low, high, color=COLOURS[hand_set], alpha=0.15, lw=0)
        axes.set_title(title, loc="left", fontsize=9, fontweight="bold", color=COLOURS[hand_set])
        axes.set(xlabel="SFT step", ylabel="accuracy, %")
        axes.set_ylim(*_limits([axes]))
        scale_steps(axes, sorted({step for each in found.curves for step in each[STRICT].steps}), room=0.07)
        axes.tick_params(axis="x", labelsize=7.5)
    handles: list[Any] = [
        Line2D([], [], color="#222222", lw=_BOLD, label="strict: in the reply format"),
        Line2D([], [], color="#222222", lw=_BOLD, ls=_DASHED, label="flexible: in any format"),
    ]
    if len(found.seeds) > 1:
        handles.append(_one_seed())
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


# -- drift -----------------------------------------------------------------------------------------------


def drift_figure(found: Reproduction) -> Figure:
    """Misalignment by tenth of the ranks, a line for each pair of checkpoints, and over the SFT steps."""
    pairs = found.drift_pairs()
    figure = Figure(figsize=(8.8, 4.4), layout="constrained")
    axes, over_steps = figure.subplots(1, 2, width_ratios=(1, 1.1))
    tenths = range(1, TENTHS + 1)
    for number, (pair, drifts) in enumerate(pairs.items()):
        style = {"color": _DRIFTS[number], "marker": _MARKERS[number]}
        each = [dict(zip(tenths, drift.misalignment, strict=True)) for drift in drifts]
        _lines(axes, each, style["color"], marker=style["marker"], ms=5, mec="white", mew=0.6, label=pair)
    axes.set_xticks(tenths, [f"{tenth}" for tenth in tenths])
    axes.set(
        xlabel="tenth of the ranks, from the largest singular values to the smallest",
        ylabel="misalignment: 1 − |cosine|, less the floor",
    )
    _drift_over_steps(over_steps, found)
    for each in (axes, over_steps):
        each.set_ylim(bottom=min(0, each.get_ylim()[0]))
    handles, _ = axes.get_legend_handles_labels()
    if len(found.seeds) > 1:
        handles.append(_one_seed())
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _drift_over_steps(axes: Axes, found: Reproduction) -> None:
    """How far SFT has turned the singular vectors, and changed the matrices and the singular values."""
    steps: set[int] = set()
    for first, stroke in _STROKES.items():
        drifts = found.drift_over_steps(first)
        for what, (colour, number) in _FARNESS.items():
            seeds = [
                dict(sorted(({start: 0.0} | {step: number(drift) for step, drift in each.items()}).items()))
                for start, each in drifts
            ]
            _lines(axes, seeds, colour, ls=stroke, label=what if first == "base" else None)
            steps.update(*seeds)
    axes.set_xlabel("SFT step")
    scale_steps(axes, sorted(steps), room=0.07)
    handles, _ = axes.get_legend_handles_labels()
    handles += [
        Line2D([], [], color="#222222", lw=_BOLD, ls=stroke, label=f"from {first}")
        for first, stroke in _STROKES.items()
    ]
    axes.legend(handles=handles, loc="upper left", fontsize=8)


def _one_seed() -> Line2D:
    return Line2D([], [], color="#222222", lw=_THIN, alpha=_FAINT, label="one seed")


# -- recoveries ------------------------------------------------------------------------------------------


def recoveries_figure(found: Reproduction) -> Figure:
    """OOD and ID accuracy of every recipe: a dot per seed, the mean with its 95 % interval over the seeds."""
    labels = found.recipes()[::-1]
    figure = Figure(figsize=(7.6, 1.4 + 0.26 * len(labels)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (title, hand_set) in zip(panels, _SHORT.items(), strict=True):
        for place, label in enumerate(labels):
            shares = _recovered_shares(found, label, hand_set)
            if not shares:
                continue
            look = look_of(_kind(found, label))
            if interval := t_interval(shares):
                axes.plot(
                    shares, [place] * len(shares), look.marker, ms=3.5, color=look.colour, alpha=0.5, mew=0
                )
                ends = [max(0.0, interval.low), min(100.0, interval.high)]
                axes.plot(ends, [place] * 2, color=look.colour, lw=1, alpha=0.7, zorder=1.5)
            axes.plot(
                fmean(shares), place, look.marker, ms=6.5, color=look.colour, mec="white", mew=0.8, zorder=4
            )
        _end_lines(axes.axvline, found, hand_set)
        shown = [float(x) for line in axes.lines for x in np.ravel(line.get_xdata())]
        low, high = 0.0 if hand_set == "ood" else min(shown), max(shown)
        span = max(high - low, 1.0)
        axes.set_xlim(low - 0.04 * span, high + 0.06 * span)
        axes.set_title(title, loc="left", fontsize=9, fontweight="bold", color=COLOURS[hand_set])
        axes.set_xlabel("accuracy, %")
        axes.grid(axis="y", **_GRID)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(labels)), labels, fontsize=8)
    panels[0].set_ylim(-0.6, len(labels) - 0.4)
    handles: list[Any] = [
        Line2D([], [], color="#222222", lw=1, ls=stroke, label=f"{what}: mean")
        for what, stroke in _ENDS.items()
    ]
    if len(found.seeds) > 1:
        handles += [
            Line2D([], [], color="#222222", marker="o", ms=3.5, ls="", alpha=0.5, mew=0, label="one seed"),
            Line2D(
                [],
                [],
                color="#222222",
                marker="o",
                ms=6.5,
                lw=1,
                mec="white",
                label="mean, 95 % over the seeds",
            ),
        ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def _end_lines(draw: Callable[..., Any], found: Reproduction, hand_set: str) -> None:
    """Where the best OOD checkpoint and the final SFT checkpoint are, on the mean over the seeds."""
    for what, stroke in _ENDS.items():
        share = fmean(_percent(found.get(found.parts(seed)[what], hand_set)) for seed in found.seeds)
        draw(share, color="#222222", lw=1, ls=stroke, zorder=1)


def _shown_recipes(found: Reproduction) -> list[str]:
    """The recipes of the findings that some seed has."""
    return [label for label in RECIPES if any(_of_recipe(found, label))]


def _of_recipe(found: Reproduction, label: str) -> list[Recovered]:
    every = [found.recovered(place, label) for place in range(len(found.seeds))]
    return [each for each in every if each is not None]


def _recovered_shares(found: Reproduction, label: str, hand_set: str) -> list[float]:
    scores = [r.ood if hand_set == "ood" else r.id for r in _of_recipe(found, label)]
    return [100 * score.share for score in scores if score is not None]


def _kind(found: Reproduction, label: str) -> str:
    return _of_recipe(found, label)[0].recipe.kind


def _accuracies(records: Mapping[int, Record]) -> dict[int, float]:
    return {step: _percent(record) for step, record in records.items()}


def _percent(record: Record) -> float:
    return 100 * record.k / record.n
