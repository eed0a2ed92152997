"""Records -> figures (matplotlib, the extra `plots`). The same records give the same SVG, byte for byte."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from points24.harness.analysis.comparison import interval_of, protocol_of
from points24.harness.analysis.curve import Curve, best_ood, curve, forgetting, is_one_of, is_scored, run_of
from points24.harness.analysis.recovery import recoveries
from points24.harness.analysis.summaries import TITLES
from points24.harness.records.record import Record
from points24.leaderboards.render.drawing import COLOURS, STYLE, file_stem, save, save_all, scale_steps
from points24.leaderboards.reports.recovery_plots import write_recoveries
from points24.tasks.errors import InputError
from points24.tasks.verdict import FILTERS, Verdict

_LINES = {"id": "o-", "id_heldout": "^--", "ood": "s-"}  # told apart without colour, too
_VERDICT_COLOURS = dict(
    zip(Verdict, ("#1b9e77", "#d95f02", "#e6b422", "#a66bb5", "#4575b4", "#9aa0a6"), strict=True)
)
_BESIDE: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}


def curves(records: Sequence[Record]) -> list[Curve]:
    """The training runs that are scored on OOD at two steps or more, by name and filter.

    A parent counts as a step where it was scored under its run's protocol.

    Raises:
        InputError: a run's records do not make one curve.
    """
    runs: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in filter(is_scored, records):
        if record.step is not None:
            name, stage = run_of(record)
            runs[name, stage or ""].append(record)
    found = []
    for _, own in sorted(runs.items()):
        parents = {record.parent for record in own if record.parent}
        protocols = set(map(protocol_of, own))
        starts = [r for r in records if is_one_of(r, parents) and protocol_of(r) in protocols]
        found += [
            curve([*starts, *own], name)
            for name in FILTERS
            if any((r.hand_set, r.filter) == ("ood", name) for r in own)
        ]
    return [each for each in found if len(each.ood) > 1]


def curve_figure(found: Curve) -> Figure:
    """Accuracy over the training steps; below it, on the same axis, what the OOD replies are worth."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    above.set_title(_name(found), fontsize=9)
    accuracy_over_steps(above, found)
    verdicts_over_steps(below, found.ood)
    scale_steps(below, found.steps)
    return figure


def accuracy_over_steps(axes: Axes, found: Curve) -> None:
    """Accuracy per hand set with 95 % bands; the best and the last step; where forgetting begins."""
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
    for step, marker, size, about in ((best_ood(found), "*", 13, "best OOD"), (found.final, "o", 9, "final")):
        record = found.ood[step]
        axes.plot(
            [step],
            [100 * record.k / record.n],
            marker,
            ms=size,
            mfc="none" if about == "final" else COLOURS["ood"],
            mec="black",
            label=f"{about}, step {step:,}",
        )
    lost = forgetting(found)
    if lost.begins_after is not None and lost.seen_by is not None:
        axes.axvspan(
            lost.begins_after, lost.seen_by, color="#9aa0a6", alpha=0.3, lw=0, label="forgetting begins"
        )
    axes.set(ylabel="accuracy, %", ylim=(-2, 100))  # a line at 0 shows
    axes.legend(**_BESIDE)


def verdicts_over_steps(axes: Axes, records: Mapping[int, Record]) -> None:
    """The share of each verdict over the training steps; they add up to 100 %."""
    axes.stackplot(
        list(records),
        [[100 * (record.verdict_share(v) or 0) for record in records.values()] for v in Verdict],
        labels=[verdict.value for verdict in Verdict],
        colors=[_VERDICT_COLOURS[verdict] for verdict in Verdict],
        edgecolor="white",
        linewidth=0.6,
    )
    axes.set(xlabel="training step", ylabel="OOD replies, %", ylim=(0, 100))
    axes.legend(**_BESIDE, reverse=True)  # in the order of the stack


def write_curve(found: Curve, path: Path) -> None:
    """Write a curve as SVG.

    Raises:
        InputError: the file cannot be written.
    """
    with mpl.rc_context(STYLE):
        save(curve_figure(found), path)


def write_plots(records: Sequence[Record], folder: Path) -> list[Path]:
    """Write every figure that the records give, as SVG, and return their paths.

    Raises:
        InputError: they give none, or a file cannot be written.
    """
    with mpl.rc_context(STYLE):
        figures = {
            file_stem(f"curve {_name(found)}") + ".svg": curve_figure(found) for found in curves(records)
        }
        paths = save_all(figures, folder)
    for written in write_recoveries(recoveries(records), folder):
        paths += written
    if not paths:
        raise InputError("nothing to plot: no run is scored on OOD at two steps, no target is repaired twice")
    return paths


def _name(found: Curve) -> str:
    return " ".join(filter(None, (found.run, found.stage, found.filter)))
