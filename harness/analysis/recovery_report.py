"""A recovery for readers: a dict for JSON, the rows of a table, and a sentence on the best repair."""

from __future__ import annotations

from typing import Any

from points24.harness.analysis import formats
from points24.harness.analysis.comparison import Difference
from points24.harness.analysis.recovery import Recovered, Recovery, Reference, Score, against_baseline
from points24.harness.analysis.statistics import Interval

UNBOUNDED = "unbounded"


def title(found: Recovery) -> str:
    return f"{found.target.name} repaired from {found.source.name}, {found.filter}"


def summary(found: Recovery) -> dict[str, Any]:
    """The recovery as plain values: shares in 0 … 1, 95 % intervals, each record by its key."""
    versus = against_baseline(found)
    return {
        "source": _end(found.source),
        "target": _end(found.target),
        "filter": found.filter,
        "protocol": found.protocol._asdict(),
        "lost": _difference(found.lost),
        "repairs": [
            {
                "label": r.recipe.label,
                "method": r.recipe.method,
                "restore": r.recipe.restore,
                "ranks": r.recipe.ranks and r.recipe.ranks.text,
                "rank_share": r.recipe.rank_share,
                "layers": r.recipe.layers.text,
                "layer_share": r.recipe.layer_share,
                "weight": r.recipe.weight,
                "ood": _score(r.ood),
                "id": r.id and _score(r.id),
                "ood_gain": _difference(r.ood_gain),
                "id_gain": r.id_gain and _difference(r.id_gain),
                "recovered": r.recovered,
                "recovered_interval": r.interval and list(r.interval),
                "on_front": r.on_front,
            }
            for r in found.checkpoints
        ],
        "best": found.best and found.best.ood.record.key,
        "best_baseline": found.best_baseline and found.best_baseline.ood.record.key,
        "best_against_baseline": versus and _difference(versus),
        "sentence": sentence(found),
    }


def table(found: Recovery) -> list[dict[str, str]]:
    """A row per end and repair, column -> cell, for ``tabulate(rows, headers="keys")``.

    Accuracies as won/played, percent and 95 % interval; gains over the target in points; what is recovered of
    the loss in percent; ``x`` on the Pareto front of ID against OOD.
    """
    ends = (("source", found.source), ("target", found.target))
    return [_row(f"{what}: {end.name}", end) for what, end in ends] + [
        _row(r.recipe.label, r)
        | _gain("OOD", r.ood_gain)
        | {"recovered %": _recovered(r)}
        | (_gain("ID", r.id_gain) if r.id_gain else {})
        for r in found.checkpoints
    ]


def sentence(found: Recovery) -> str:
    """What the best repair brings back, what it costs, and whether the best baseline does as well."""
    lost, best = found.lost, found.best or found.best_baseline
    if best is None or best.recovered is None:
        shares = f"{_percent(found.target.ood)} against {_percent(found.source.ood)}"
        return f"Nothing to recover: on OOD the target is not below the source ({shares})."
    what = "spectral repair" if found.best else "baseline"
    known = (
        f"95 % interval {_percents(best.interval)}"
        if best.interval
        else (f"95 % interval {UNBOUNDED}: these deals hardly tell the target from the source")
    )
    text = (
        f"Best {what} on OOD: {best.recipe.label}, {_percent(best.ood)}; it recovers "
        f"{_whole(best.recovered)} % of the {formats.percent(lost.share)} points that the target lost "
        f"({known})"
    )
    if best.id_gain:
        text += f", at {formats.points(best.id_gain.share)} points on ID"
    versus = against_baseline(found)
    if versus is None or found.best_baseline is None:
        return f"{text}. {'No baseline' if found.best else 'No spectral repair'} was scored."
    low, high = versus.interval
    gap = (
        f"{formats.points(versus.share)} points (95 % interval {formats.points(low)} to "
        f"{formats.points(high)}, {formats.p_clause(versus.p_holm)} after Holm)"
    )
    verdict = (
        "chance alone can explain that"
        if not versus.is_clear
        else "it beats the baseline"
        if versus.share > 0
        else "the baseline beats it"
    )
    return f"{text}. Against the best baseline, {found.best_baseline.recipe.label}: {gap}; {verdict}."


def _percents(found: Interval) -> str:
    """An interval of shares that may leave 0 … 1, in whole percent: ``−3 to 12 %``."""
    return f"{_whole(found.low)} to {_whole(found.high)} %"


def _row(name: str, of: Reference | Recovered) -> dict[str, str]:
    return {
        "checkpoint": name,
        "OOD": _cell(of.ood),
        "OOD vs target": "",
        "OOD p (Holm)": "",
        "recovered %": "",
        "ID": _cell(of.id),
        "ID vs target": "",
        "ID p (Holm)": "",
        "front": "x" if of.on_front else "",
    }


def _gain(side: str, found: Difference) -> dict[str, str]:
    low, high = map(formats.points, found.interval)
    p = f"{formats.p_value(found.p)} ({formats.p_value(found.p_holm)})"
    return {
        f"{side} vs target": f"{formats.points(found.share)} [{low}, {high}]",
        f"{side} p (Holm)": p,
    }


def _recovered(found: Recovered) -> str:
    if found.recovered is None:
        return ""
    bounds = ", ".join(_whole(end) for end in found.interval) if found.interval else UNBOUNDED
    return f"{_whole(found.recovered)} [{bounds}]"


def _whole(share: float) -> str:
    text = f"{100 * share:.0f}".replace("-", formats.MINUS)
    return "0" if text == f"{formats.MINUS}0" else text


def _cell(score: Score | None) -> str:
    if score is None:
        return ""
    low, high = map(formats.percent, score.interval)
    return f"{score.record.k}/{score.record.n} {_percent(score)} [{low}, {high}]"


def _percent(score: Score) -> str:
    return f"{formats.percent(score.share)} %"


def _end(end: Reference) -> dict[str, Any]:
    return {
        "name": end.name,
        "ood": _score(end.ood),
        "id": end.id and _score(end.id),
        "on_front": end.on_front,
    }


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


def _difference(found: Difference) -> dict[str, Any]:
    return {
        "difference": found.share,
        "interval": list(found.interval),
        "p": found.p,
        "p_holm": found.p_holm,
    }
