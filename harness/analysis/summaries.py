"""Curves and recoveries for readers: a dict for JSON, the rows of a table, and a sentence.

Rows map column -> cell, for ``tabulate(rows, headers="keys")``. An accuracy reads as correct/played, percent
and 95 % interval. In a dict, shares lie in 0 … 1 and a record is given by its key.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from points24.harness.analysis import formats
from points24.harness.analysis.comparison import Difference, Score, score_of
from points24.harness.analysis.curve import Curve, Forgetting, best_ood, forgetting
from points24.harness.analysis.recovery import Recovered, Recovery, Reference, against_baseline
from points24.harness.analysis.statistics import Interval
from points24.harness.records.record import Record
from points24.tasks.verdict import Verdict

TITLES = {"id": "ID", "id_heldout": "held-out", "ood": "OOD"}
"""Hand set -> its column in the table of a curve."""
UNBOUNDED = "unbounded"


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
                name: _score(score_of(records[step])) | {"verdicts": records[step].verdicts}
                for name, records in found.scores.items()
                if step in records
            }
            for step in found.steps
        ],
    }


def curve_table(found: Curve) -> list[dict[str, str]]:
    """A row per step; the last columns are the share of `wrong_rule` on OOD and what marks the step."""
    marks = _marks(found)
    return [
        {"step": str(step)}
        | {
            TITLES[name]: _cell(score_of(records[step])) if step in records else ""
            for name, records in found.scores.items()
        }
        | {
            "OOD wrong_rule": _wrong_rule(found.ood.get(step)),
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
    return f"{formats.percent(record.verdict_share(Verdict.WRONG_RULE))} %" if record else ""


def recovery_title(found: Recovery) -> str:
    return f"{found.target.name} recovered from {found.source.name}, {found.filter}"


def recovery_summary(found: Recovery) -> dict[str, Any]:
    """The recovery as plain values."""
    versus = against_baseline(found)
    return {
        "source": _reference(found.source),
        "target": _reference(found.target),
        "filter": found.filter,
        "protocol": found.protocol._asdict(),
        "lost": _difference(found.lost),
        "checkpoints": [_recovered(each) for each in found.checkpoints],
        "best": found.best and found.best.ood.record.key,
        "best_baseline": found.best_baseline and found.best_baseline.ood.record.key,
        "best_against_baseline": versus and _difference(versus),
        "sentence": recovery_sentence(found),
    }


def recovery_table(found: Recovery) -> list[dict[str, str]]:
    """A row for the source, the target and each recovered checkpoint.

    Gains over the target are in points, the recovered share of the loss in percent; ``x`` marks the Pareto
    front of ID against OOD.
    """
    references = (("source", found.source), ("target", found.target))
    return [_row(f"{what}: {each.name}", each) for what, each in references] + [
        _row(each.recipe.label, each)
        | _gain("OOD", each.ood_gain)
        | {"recovered %": _recovered_share(each)}
        | (_gain("ID", each.id_gain) if each.id_gain else {})
        for each in found.checkpoints
    ]


def recovery_sentence(found: Recovery) -> str:
    """What the best recipe recovers, what it costs, and whether the best baseline does as well."""
    best = found.best or found.best_baseline
    if best is None or best.recovered is None:
        shares = f"{_percent(found.target.ood)} against {_percent(found.source.ood)}"
        return f"Nothing to recover: on OOD the target is not below the source ({shares})."
    known = (
        f"{_whole(best.interval.low)} to {_whole(best.interval.high)} %"
        if best.interval
        else f"{UNBOUNDED}: these deals hardly tell the target from the source"
    )
    text = (
        f"Best {'spectral recovery' if found.best else 'baseline'} on OOD: {best.recipe.label}, "
        f"{_percent(best.ood)}; it recovers {_whole(best.recovered)} % of the "
        f"{formats.percent(found.lost.share)} points that the target lost (95 % interval {known})"
    )
    if best.id_gain:
        text += f", at {formats.points(best.id_gain.share)} points on ID"
    versus = against_baseline(found)
    if versus is None or found.best_baseline is None:
        return f"{text}. {'No baseline' if found.best else 'No spectral recovery'} was scored."
    return f"{text}. Against the best baseline, {found.best_baseline.recipe.label}: {_verdict(versus)}."


def _verdict(versus: Difference) -> str:
    """How spectral recovery compares with a baseline, in words."""
    gap = f"{formats.points(versus.share)} points {_uncertainty(versus.interval, versus.p_holm)}"
    if not versus.is_clear:
        return f"{gap}; chance alone can explain that"
    return f"{gap}; {'it beats the baseline' if versus.share > 0 else 'the baseline beats it'}"


def _uncertainty(interval: Interval, p_holm: float) -> str:
    low, high = map(formats.points, interval)
    return f"(95 % interval {low} to {high}, {formats.p_clause(p_holm)} after Holm)"


def _row(name: str, of: Reference | Recovered) -> dict[str, str]:
    return {
        "checkpoint": name,
        "OOD": _cell(of.ood),
        "OOD vs target": "",
        "OOD p (Holm)": "",
        "recovered %": "",
        "ID": _cell(of.id) if of.id else "",
        "ID vs target": "",
        "ID p (Holm)": "",
        "front": "x" if of.on_front else "",
    }


def _gain(side: str, found: Difference) -> dict[str, str]:
    low, high = map(formats.points, found.interval)
    return {
        f"{side} vs target": f"{formats.points(found.share)} [{low}, {high}]",
        f"{side} p (Holm)": f"{formats.p_value(found.p)} ({formats.p_value(found.p_holm)})",
    }


def _recovered_share(found: Recovered) -> str:
    if found.recovered is None:
        return ""
    bounds = ", ".join(map(_whole, found.interval)) if found.interval else UNBOUNDED
    return f"{_whole(found.recovered)} [{bounds}]"


def _whole(share: float) -> str:
    """In whole percent, which may leave 0 … 100."""
    text = f"{100 * share:.0f}".replace("-", formats.MINUS)
    return "0" if text == f"{formats.MINUS}0" else text


def _recovered(found: Recovered) -> dict[str, Any]:
    recipe = found.recipe
    settings = {"restore": None, "ranks": None} | recipe.describe()
    return {
        "label": recipe.label,
        **{key: settings[key] for key in ("method", "restore", "ranks")},
        "rank_share": recipe.method.rank_share,
        "layers": recipe.layers.text,
        "layer_share": recipe.layers.share,
        "weight": recipe.weight,
        "ood": _score(found.ood),
        "id": found.id and _score(found.id),
        "ood_gain": _difference(found.ood_gain),
        "id_gain": found.id_gain and _difference(found.id_gain),
        "recovered": found.recovered,
        "recovered_interval": found.interval and list(found.interval),
        "on_front": found.on_front,
    }


def _reference(found: Reference) -> dict[str, Any]:
    of_id = found.id and _score(found.id)
    return {"name": found.name, "ood": _score(found.ood), "id": of_id, "on_front": found.on_front}


def _difference(found: Difference) -> dict[str, Any]:
    interval = list(found.interval)
    return {"difference": found.share, "interval": interval, "p": found.p, "p_holm": found.p_holm}


def _score(score: Score) -> dict[str, Any]:
    record = score.record
    return {
        "model": record.model,
        "k": record.k,
        "n": record.n,
        "accuracy": score.share,
        "interval": list(score.interval),
        "record": record.key,
    }


def _cell(score: Score) -> str:
    low, high = map(formats.percent, score.interval)
    return f"{score.record.k}/{score.record.n} {_percent(score)} [{low}, {high}]"


def _percent(score: Score) -> str:
    return f"{formats.percent(score.share)} %"
