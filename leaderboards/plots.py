"""Records -> figures (matplotlib, the extra `plots`). The same records give the same SVG, byte for byte."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from points24.harness.comparison import interval_of, protocol_of
from points24.harness.files import replacing
from points24.harness.records import Record
from points24.tasks.errors import InputError
from points24.tasks.verdict import Verdict

_COLOURS = {"id": "#0b6e8f", "ood": "#d95f02"}
_VERDICT_COLOURS = dict(
    zip(Verdict, ("#1b9e77", "#d95f02", "#e6b422", "#a66bb5", "#4575b4", "#9aa0a6"), strict=True)
)
_STYLE: dict[Any, Any] = {  # its keys' type is matplotlib's own
    "svg.hashsalt": "points24",  # else the ids inside an SVG are random
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
    "legend.frameon": False,
}
Series = list[Record]
"""The records of one training run under one protocol, by step."""


def series(records: Iterable[Record]) -> dict[str, dict[str, Series]]:
    """Training runs with two steps or more: run and filter -> rule -> records by step.

    A run is the checkpoints of one stage of one model, whose names differ in ``/checkpoint-N`` alone. Only
    the full sets `id` and `ood` in a single attempt are drawn.
    """
    found: dict[str, dict[str, Series]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        full = record.hand_set == record.rule and record.attempts == 1 and record.status == "measured"
        if record.step is not None and full:
            run = re.sub(r"/checkpoint-\d+$", "", record.model)
            found[" ".join(filter(None, (run, record.stage, record.filter)))][record.rule].append(record)
    for name, rules in found.items():
        for rule, steps in rules.items():
            if len({protocol_of(record) for record in steps}) > 1:
                raise InputError(f"{name}: its {rule} records are of several protocols: not one curve")
            steps.sort(key=lambda record: (record.step, record.date))
    return {
        name: {rule: rules[rule] for rule in sorted(rules)}
        for name, rules in sorted(found.items())
        if any(len({record.step for record in steps}) > 1 for steps in rules.values())
    }


def accuracy_over_steps(axes: Axes, rules: dict[str, Series]) -> None:
    """ID and OOD accuracy against the training step, with 95 % bands."""
    for rule, steps in rules.items():
        x = [record.step or 0 for record in steps]
        bounds = [interval_of(record) for record in steps]
        axes.plot(x, [100 * r.k / r.n for r in steps], "o-", ms=3, color=_COLOURS[rule], label=rule.upper())
        axes.fill_between(
            x,
            [100 * bound.low for bound in bounds],
            [100 * bound.high for bound in bounds],
            color=_COLOURS[rule],
            alpha=0.18,
            linewidth=0,
        )
    axes.set(xlabel="training step", ylabel="accuracy, %", ylim=(0, 100))
    axes.legend()


def verdicts_over_steps(axes: Axes, steps: Series) -> None:
    """The share of each verdict against the training step; they add up to 100 %."""
    shares = [
        [100 * (record.verdicts or {}).get(verdict.value, 0) / record.n for record in steps]
        for verdict in Verdict
    ]
    axes.stackplot(
        [record.step or 0 for record in steps],
        shares,
        labels=[verdict.value for verdict in Verdict],
        colors=[_VERDICT_COLOURS[verdict] for verdict in Verdict],
    )
    axes.set(xlabel="training step", ylabel="replies, %", ylim=(0, 100))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def recovery_bars(axes: Axes, records: Sequence[Record]) -> None:
    """Accuracy of each checkpoint under ID and OOD, with 95 % intervals; in the order given."""
    labels = list(dict.fromkeys(record.label for record in records))
    for offset, rule in ((-0.2, "id"), (0.2, "ood")):
        for record in (record for record in records if record.rule == rule):
            share, (low, high) = record.k / record.n, interval_of(record)
            axes.bar(
                labels.index(record.label) + offset,
                100 * share,
                width=0.38,
                color=_COLOURS[rule],
                yerr=[[100 * (share - low)], [100 * (high - share)]],
                error_kw={"linewidth": 1},
                label=rule.upper() if record.label == labels[0] else None,
            )
    axes.set(ylabel="accuracy, %", ylim=(0, 100))
    axes.set_xticks(range(len(labels)), labels, rotation=20, ha="right")
    axes.legend()


def recoveries(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Filter -> the recovered checkpoints with their parents first; full hand sets, single attempt."""
    full = [r for r in records if r.hand_set == r.rule and r.attempts == 1 and r.status == "measured"]
    found: dict[str, list[Record]] = {}
    for name in sorted({r.filter for r in full if r.stage == "recovered" and r.filter}):
        group = [r for r in full if r.filter == name]
        recovered = [r for r in group if r.stage == "recovered"]
        parents = {r.parent for r in recovered}
        found[name] = [r for r in group if {r.model, r.label} & parents] + recovered
    return found


def write_plots(records: Sequence[Record], folder: Path) -> list[Path]:
    """Write every figure that the records give, as SVG, and return their paths.

    Raises:
        InputError: they give none.
    """
    paths = []
    with mpl.rc_context(_STYLE):
        for name, rules in series(records).items():
            figure, axes = _figure(name)
            accuracy_over_steps(axes, rules)
            paths.append(_saved(figure, folder, f"accuracy {name}"))
            for rule, steps in rules.items():
                figure, axes = _figure(f"{name}, {rule.upper()}")
                verdicts_over_steps(axes, steps)
                paths.append(_saved(figure, folder, f"verdicts {name} {rule}"))
        for name, group in recoveries(records).items():
            figure, axes = _figure(f"recovery, {name}")
            recovery_bars(axes, group)
            paths.append(_saved(figure, folder, f"recovery {name}"))
    if not paths:
        raise InputError("nothing to plot: no run has records of two steps, and none has the stage recovered")
    return paths


def _figure(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=9)
    return figure, axes


def _saved(figure: Figure, folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (re.sub(r"\W+", "_", name) + ".svg")
    with replacing(path) as partial:
        figure.savefig(partial, format="svg", metadata={"Date": None})
    return path
