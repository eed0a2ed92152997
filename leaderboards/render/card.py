"""One picture to share: the question, the curve, what became of the replies, and what recovery regains."""

from __future__ import annotations

from textwrap import wrap
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from points24.harness.analysis.curve import Curve, best_ood, forgetting
from points24.harness.analysis.recovery import Recovery
from points24.harness.analysis.recovery_summaries import recovery_sentence
from points24.harness.analysis.summaries import curve_sentence
from points24.harness.records.record import Record
from points24.leaderboards.render.curves import VERDICT_COLOURS, accuracy_lines
from points24.leaderboards.render.drawing import COLOURS, DASHED, GREY, INK, heading, scale_steps
from points24.tasks.verdict import Verdict

SIZE = (12, 6.3)
"""Inches; at 100 dots an inch, what sites show for a link."""
QUESTION = "Did fine-tuning generalise, or memorise the rule?"
_NAMED_FROM = 0.06
"""A part of a bar that is shorter has no figure written in it."""


class Card(NamedTuple):
    """What a card shows."""

    curve: Curve
    recovery: Recovery | None
    """None where no checkpoint was recovered."""


def card_figure(found: Card) -> Figure:
    """The card."""
    figure = Figure(figsize=SIZE, dpi=100)
    figure.text(0.04, 0.915, QUESTION, fontsize=24, fontweight="bold", color=INK)
    figure.text(0.04, 0.86, _about(found.curve), fontsize=11, color=GREY)
    _curve(figure.add_axes((0.07, 0.345, 0.4, 0.42)), found.curve)
    _replies(figure.add_axes((0.7, 0.445, 0.26, 0.32)), found)
    _sentences(figure, found)
    return figure


def _about(found: Curve) -> str:
    final = found.ood[found.final]
    run = " ".join(filter(None, (found.run, found.stage, found.parent and f"of {found.parent}")))
    return f"{run}   ·   {final.task}, {final.n:,} deals, {found.filter}   ·   points24"


def _curve(axes: Axes, found: Curve) -> None:
    """Accuracy and the memorised rule over the steps, each named at its end."""
    heading(axes, "Accuracy over the training steps, %")
    accuracy_lines(axes, found)
    memorised = [100 * (record.verdict_share(Verdict.WRONG_RULE) or 0) for record in found.ood.values()]
    colour = VERDICT_COLOURS[Verdict.WRONG_RULE]
    axes.plot(list(found.ood), memorised, color=colour, linestyle=DASHED, lw=2)
    scale_steps(axes, found.steps, room=0.07)
    ends = [("wrong_rule", memorised[-1], colour)]
    for name, label in (("id", "ID: J, Q, K = 10"), ("ood", "OOD: 11, 12, 13"), ("id_heldout", "held-out")):
        if records := found.scores.get(name):
            last = list(records.values())[-1]
            ends.append((label, 100 * last.k / last.n, COLOURS[name]))
    height = -100.0
    for label, share, shade in sorted(ends, key=lambda end: end[1]):
        height = max(share, height + 7)  # names do not meet
        place: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "va": "center", "fontsize": 10}
        axes.annotate(
            f" {label}", (1, height), color=shade, fontweight="bold", annotation_clip=False, **place
        )
    axes.set(xlabel="training step", ylim=(-2, max(100.0 if found.scores.get("id") else 0, *memorised, 30)))


def _replies(axes: Axes, found: Card) -> None:
    """The verdicts on the OOD replies before forgetting, after it, and after recovery."""
    heading(axes, "OOD replies, %")
    bars: list[tuple[str, Record]] = [("best OOD", found.curve.ood[best_ood(found.curve)])]
    bars.append(("final", found.curve.ood[found.curve.final]))
    if found.recovery and found.recovery.checkpoints:
        bars.append(("recovered", found.recovery.checkpoints[0].ood.record))
    for row, (_, record) in enumerate(bars):
        left = 0.0
        for verdict, colour in VERDICT_COLOURS.items():
            share = record.verdict_share(verdict) or 0
            axes.barh(row, share, left=left, height=0.62, color=colour, edgecolor="white", lw=0.8)
            if share >= _NAMED_FROM:
                shown = f"{100 * share:.0f}"
                axes.text(left + share / 2, row, shown, ha="center", va="center", color="white", fontsize=10)
            left += share
    axes.set_yticks(range(len(bars)), [name for name, _ in bars], fontsize=11)
    axes.set(xlim=(0, 1), xticks=[], ylim=(len(bars) - 0.5, -0.5))
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    swatches = [axes.barh(0, 0, color=colour) for colour in VERDICT_COLOURS.values()]
    names = [verdict.value for verdict in VERDICT_COLOURS]
    axes.legend(
        swatches, names, ncols=3, loc="upper left", bbox_to_anchor=(-0.36, 0), fontsize=9, columnspacing=1.2
    )


def _sentences(figure: Figure, found: Card) -> None:
    """Below: how much came back, as a figure, and what it means; else whether anything was forgotten."""
    best = found.recovery and found.recovery.best
    recovered = best and best.shares.recovered
    left, said = 0.04, curve_sentence(forgetting(found.curve))
    if found.recovery and recovered and recovered.interval:
        figure.text(0.04, 0.12, f"{100 * recovered.value:.0f} %", fontsize=36, fontweight="bold", color=INK)
        figure.text(0.04, 0.075, "of the lost OOD", fontsize=10, color=GREY)
        figure.text(0.04, 0.04, "accuracy recovered", fontsize=10, color=GREY)
        left = 0.21
    if found.recovery:
        said = recovery_sentence(found.recovery)
    lines = wrap(said, width=round(150 * (0.96 - left)))
    figure.text(left, 0.215, "\n".join(lines), fontsize=10, color=INK, va="top", linespacing=1.35)
