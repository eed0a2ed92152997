"""A curve for readers: a dict for JSON, the rows of a table, and a sentence on forgetting."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from points24.harness.analysis import formats
from points24.harness.analysis.comparison import interval_of
from points24.harness.analysis.curve import Curve, Forgetting, best_ood, forgetting
from points24.harness.records.record import Record
from points24.tasks.verdict import Verdict

TITLES = {"id": "ID", "id_heldout": "held-out", "ood": "OOD"}
"""Hand set -> how a curve calls it."""


def summary(found: Curve) -> dict[str, Any]:
    """The curve as plain values: shares in 0 … 1, 95 % intervals, each record by its key."""
    lost = forgetting(found)
    return {
        "run": found.run,
        "stage": found.stage,
        "parent": found.parent,
        "filter": found.filter,
        "best_ood": best_ood(found),
        "end": found.end,
        "forgetting": asdict(lost)
        | {
            "interval": list(lost.interval),
            "begins_after": lost.begins_after,
            "sentence": sentence(lost),
        },
        "steps": [
            {"step": step}
            | {name: _score(records[step]) for name, records in found.scores.items() if step in records}
            for step in found.steps
        ],
    }


def table(found: Curve) -> list[dict[str, str]]:
    """A row per step, column -> cell, for ``tabulate(rows, headers="keys")``.

    Accuracies as won/played, percent and 95 % interval; the last columns are the share of OOD replies that
    are right under another rule, and what the step is.
    """
    marks = _marks(found)
    return [
        {"step": str(step)}
        | {TITLES[name]: _cell(records.get(step)) for name, records in found.scores.items()}
        | {
            "OOD wrong_rule": _wrong_rule(found.ood.get(step)),
            "": ", ".join(marks.get(step, [])),
        }
        for step in found.steps
    ]


def sentence(found: Forgetting) -> str:
    """What is seen of forgetting, or why nothing is."""
    if found.end == found.peak:
        return f"No forgetting seen: OOD accuracy is highest at the end, step {found.end}."
    low, high = found.interval
    fall = (
        f"OOD accuracy falls by {formats.percent(found.lost)} points from its peak, step {found.peak}, "
        f"to the end, step {found.end} (95 % interval {formats.points(low)} to {formats.points(high)}, "
        f"{formats.p_clause(found.p)} after Holm)"
    )
    if found.seen_by is None:
        return f"No forgetting seen: {fall}; chance alone can explain that."
    return f"{fall}: forgetting begins after step {found.begins_after} and is seen by step {found.seen_by}."


def _marks(found: Curve) -> dict[int, list[str]]:
    lost = forgetting(found)
    marks: dict[int, list[str]] = {}
    for step, mark in (
        (best_ood(found), "best OOD"),
        (None if lost.peak else 0, "peak"),  # any other peak is the best checkpoint
        (lost.begins_after, "forgetting begins after"),
        (lost.seen_by, "forgetting seen"),
        (found.end, "end"),
    ):
        if step is not None:
            marks.setdefault(step, []).append(mark)
    return marks


def _score(record: Record) -> dict[str, Any]:
    return {
        "model": record.model,
        "k": record.k,
        "n": record.n,
        "accuracy": record.k / record.n,
        "interval": list(interval_of(record)),
        "verdicts": record.verdicts,
        "record": record.key,
    }


def _cell(record: Record | None) -> str:
    if record is None:
        return ""
    low, high = map(formats.percent, interval_of(record))
    return f"{record.k}/{record.n} {formats.percent(record.k / record.n)} % [{low}, {high}]"


def _wrong_rule(record: Record | None) -> str:
    return f"{formats.percent(record.verdict_share(Verdict.WRONG_RULE))} %" if record else ""
