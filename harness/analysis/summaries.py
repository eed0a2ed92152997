"""Curves for readers: a dict for JSON, the rows of a table, and a sentence.

Rows map column -> cell, for ``tabulate(rows, headers="keys")``. An accuracy reads as correct/played, percent
and 95 % interval. In a dict, shares lie in 0 … 1 and a record is given by its key.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from points24.harness.analysis import formats
from points24.harness.analysis.comparison import Score, score_of
from points24.harness.analysis.curve import Curve, Forgetting, best_ood, forgetting
from points24.harness.analysis.statistics import Interval
from points24.harness.records.record import Record
from points24.tasks.verdict import Verdict

TITLES = {"id": "ID", "id_heldout": "held-out", "ood": "OOD"}
"""Hand set -> its column in the table of a curve."""


def curve_summary(found: Curve) -> dict[str, Any]:
    """The curve as plain values."""
    lost = forgetting(found)
    return {
        "run": found.run,
        "stage": found.stage,
        "parent": found.parent,
        "filter": found.filter,
        "best_ood": best_ood(found),
        "final": found.final,
        "forgetting": asdict(lost)
        | {
            "interval": list(lost.interval),
            "begins_after": lost.begins_after,
            "sentence": curve_sentence(lost),
        },
        "steps": [
            {"step": step}
            | {
                name: score_summary(score_of(records[step])) | {"verdicts": records[step].verdicts}
                for name, records in found.scores.items()
                if step in records
            }
            for step in found.steps
        ],
    }


def curve_table(found: Curve) -> list[dict[str, str]]:
    """A row per step, for a terminal; the last columns are `wrong_rule` on OOD and what marks the step."""
    marks = _marks(found)
    return [
        {"step": str(step)}
        | {
            f"{TITLES[name]} %": share_cell(score_of(records[step])) if step in records else ""
            for name, records in found.scores.items()
        }
        | {
            "wrong_rule %": _wrong_rule(found.ood.get(step)),
            "": ", ".join(marks.get(step, [])),
        }
        for step in found.steps
    ]


def curve_sentence(found: Forgetting) -> str:
    """Whether forgetting is seen, and when it begins."""
    if found.final == found.peak:
        return f"No forgetting seen: OOD accuracy is highest at the final step, {found.final}."
    fall = (
        f"OOD accuracy falls by {formats.percent(found.lost)} points from its peak, step {found.peak}, "
        f"to the final step, {found.final} {_uncertainty(found.interval, found.p)}"
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
        (found.final, "final"),
    ):
        if step is not None:
            marks.setdefault(step, []).append(mark)
    return marks


def _wrong_rule(record: Record | None) -> str:
    return formats.percent(record.verdict_share(Verdict.WRONG_RULE)) if record else ""


def _uncertainty(interval: Interval, p_holm: float) -> str:
    low, high = map(formats.points, interval)
    return f"(95 % interval {low} to {high}, {formats.p_clause(p_holm)} after Holm)"


def score_summary(score: Score) -> dict[str, Any]:
    """An accuracy as plain values."""
    record = score.record
    return {
        "model": record.model,
        "k": record.k,
        "n": record.n,
        "accuracy": score.share,
        "interval": list(score.interval),
        "record": record.key,
    }


def score_cell(score: Score) -> str:
    """``85/796 10.7 % [8.7, 13.0]``."""
    return f"{formats.won(score.record)} {share_cell(score, ' %')}"


def share_cell(score: Score, unit: str = "") -> str:
    """``10.7 [8.7, 13.0]``, in percent."""
    low, high = map(formats.percent, score.interval)
    return f"{formats.percent(score.share)}{unit} [{low}, {high}]"
