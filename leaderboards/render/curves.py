"""Training curves -> figures (matplotlib, the extra `plots`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from points24.harness.analysis.comparison import interval_of
from points24.harness.analysis.curve import Curve, best_ood, forgetting
from points24.harness.analysis.summaries import TITLES
from points24.harness.records.record import Record
from points24.leaderboards.figures import name_of
from points24.leaderboards.render.drawing import COLOURS, limits, scale_steps
from points24.tasks.verdict import Verdict

_LINES = {"id": "o-", "id_heldout": "^--", "ood": "s-"}
VERDICT_COLOURS = dict(
    zip(Verdict, ("#1b9e77", "#d95f02", "#e6b422", "#a66bb5", "#4575b4", "#9aa0a6"), strict=True)
)
_BESIDE: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}


def curve_figure(found: Curve) -> Figure:
    """Accuracy over the training steps; below it the memorised rule, and every verdict on the OOD replies."""
    figure = Figure(figsize=(7.6, 6.2), layout="constrained")
    above, between, below = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1.3, 2))
    above.set_title(name_of(found), fontsize=9)
    accuracy_over_steps(above, found)
    memorised_over_steps(between, found.ood)
    verdicts_over_steps(below, found.ood)
    scale_steps(below, found.steps)
    return figure


def accuracy_over_steps(axes: Axes, found: Curve) -> None:
    """Accuracy per hand set; the best and the final step; where forgetting begins."""
    accuracy_lines(axes, found)
    for step, marker, size, fill, label in (
        (best_ood(found), "*", 13, COLOURS["ood"], "best OOD"),
        (found.final, "o", 9, "none", "final"),
    ):
        share = 100 * found.ood[step].k / found.ood[step].n
        axes.plot([step], [share], marker, ms=size, mfc=fill, mec="black", label=f"{label}, step {step:,}")
    lost = forgetting(found)
    if lost.begins_after is not None and lost.seen_by is not None:
        axes.axvspan(
            lost.begins_after, lost.seen_by, color="#9aa0a6", alpha=0.3, lw=0, label="forgetting begins"
        )
    axes.set(ylabel="accuracy, %", ylim=(-2, 100))  # a line at 0 stays visible
    axes.legend(**_BESIDE)


def accuracy_lines(axes: Axes, found: Curve) -> None:
    """Accuracy per hand set over the steps, with 95 % bands."""
    for name, records in found.scores.items():
        steps, bounds = list(records), [interval_of(record) for record in records.values()]
        shares = [100 * record.k / record.n for record in records.values()]
        axes.plot(steps, shares, _LINES[name], ms=3, color=COLOURS[name], label=TITLES[name])
        axes.fill_between(
            steps,
            [100 * bound.low for bound in bounds],
            [100 * bound.high for bound in bounds],
            color=COLOURS[name],
            alpha=0.18,
            linewidth=0,
        )


def memorised_over_steps(axes: Axes, records: Mapping[int, Record]) -> None:
    """The share of OOD replies that are right under another rule alone, on a scale of its own."""
    shares = [100 * (record.verdict_share(Verdict.WRONG_RULE) or 0) for record in records.values()]
    colour = VERDICT_COLOURS[Verdict.WRONG_RULE]
    axes.plot(list(records), shares, "D-", ms=3, color=colour, label="wrong_rule:\na memorised rule")
    axes.set(ylabel="OOD replies, %", ylim=limits([*shares, 1]))
    axes.legend(**_BESIDE)


def verdicts_over_steps(axes: Axes, records: Mapping[int, Record]) -> None:
    """The share of each verdict over the training steps; they add up to 100 %."""
    axes.stackplot(
        list(records),
        [[100 * (record.verdict_share(v) or 0) for record in records.values()] for v in Verdict],
        labels=[verdict.value for verdict in Verdict],
        colors=[VERDICT_COLOURS[verdict] for verdict in Verdict],
        edgecolor="white",
        linewidth=0.6,
    )
    axes.set(xlabel="training step", ylabel="OOD replies, %", ylim=(0, 100))
    axes.legend(**_BESIDE, reverse=True)  # in the order of the stack
