"""Recoveries for readers: a dict for JSON, the rows of a table, and a sentence; as in `summaries`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from points24.harness.analysis import formats
from points24.harness.analysis.comparison import Difference, Score
from points24.harness.analysis.recovery import Picked, Recovered, Recovery, Reference, against_baseline
from points24.harness.analysis.retention import Outcomes, Share, Shares, bits_of
from points24.harness.analysis.summaries import score_cell, score_summary

UNBOUNDED = "unbounded"
SHARES = dict(zip(Shares._fields, ("recovered %", "retained %", "harmonic mean %"), strict=True))
"""Field of `Shares` -> its column."""
GROUPED_FROM = 12
"""With so many recipes, a table keeps those of one kind together."""


def recovery_title(found: Recovery) -> str:
    return f"{found.target.name} recovered from {found.source.name}, {found.filter}"


def recovery_summary(found: Recovery) -> dict[str, Any]:
    """The recovery as plain values."""
    versus = against_baseline(found)
    return {
        "source": _reference(found.source),
        "target": _reference(found.target),
        "filter": found.filter,
        "protocol": found.terms._asdict(),
        "lost": _difference(found.lost),
        "gained": found.gained and _difference(found.gained),
        "checkpoints": [_recovered(each) for each in found.checkpoints],
        "best": found.best and _picked(found.best),
        "spectral_against_baseline": versus and _share(versus),
        "sentence": recovery_sentence(found),
    }


# -- the table -------------------------------------------------------------------------------------------


def recovery_table(found: Recovery, cell: Callable[[Score], str] = score_cell) -> list[dict[str, str]]:
    """A row for the source, the target and each recovered checkpoint.

    Shares are in percent, gains over the target in points; ``x`` marks the Pareto front of ID against OOD.

    Args:
        found: the recovery.
        cell: how an accuracy reads.
    """
    rows = []
    for what, end in (("source", found.source), ("target", found.target)):
        ids = bits_of(end.id.record) if end.id else None
        merely = (
            each and each._replace(interval=None)
            for each in found.scales.shares(Outcomes(bits_of(end.ood.record), ids))
        )
        rows.append(_row(f"{what}: {end.name}", end, cell) | _share_cells(Shares(*merely), unbounded=""))
    return rows + [
        _row(each.recipe.label, each, cell)
        | _share_cells(each.shares)
        | _gain("OOD", each.ood_gain)
        | (_gain("ID", each.id_gain) if each.id_gain else {})
        for each in in_groups(found.checkpoints)
    ]


def in_groups(checkpoints: Sequence[Recovered]) -> list[Recovered]:
    """The same; where they are many, those of one kind together, the kind with the best one first."""
    kinds = list(dict.fromkeys(each.recipe.method.kind for each in checkpoints))
    if len(checkpoints) < GROUPED_FROM:
        return list(checkpoints)
    return sorted(checkpoints, key=lambda each: kinds.index(each.recipe.method.kind))


def _row(name: str, of: Reference | Recovered, cell: Callable[[Score], str]) -> dict[str, str]:
    return {
        "checkpoint": name,
        **dict.fromkeys(SHARES.values(), ""),
        "OOD": cell(of.ood),
        "OOD vs target": "",
        "OOD p (Holm)": "",
        "ID": cell(of.id) if of.id else "",
        "ID vs target": "",
        "ID p (Holm)": "",
        "front": "x" if of.on_front else "",
    }


def _share_cells(found: Shares, unbounded: str = f" [{UNBOUNDED}]") -> dict[str, str]:
    def cell(share: Share | None) -> str:
        if share is None:
            return ""
        bounds = f" [{', '.join(map(_whole, share.interval))}]" if share.interval else unbounded
        return _whole(share.value) + bounds

    return {column: cell(getattr(found, name)) for name, column in SHARES.items()}


def _gain(side: str, found: Difference) -> dict[str, str]:
    low, high = map(formats.points, found.interval)
    return {
        f"{side} vs target": f"{formats.points(found.share)} [{low}, {high}]",
        f"{side} p (Holm)": f"{formats.p_value(found.p)} ({formats.p_value(found.p_holm)})",
    }


# -- the sentence ----------------------------------------------------------------------------------------


def recovery_sentence(found: Recovery) -> str:
    """What the best recipe recovers and retains, measured on deals that did not pick it.

    It names how many recipes it was picked from and whether spectral recipes or baselines lead; where
    these deals cannot tell, it says so.
    """
    if found.lost.share <= 0:
        shares = [f"{formats.percent(end.ood.share)} %" for end in (found.target, found.source)]
        return f"Nothing to recover: on OOD the target is not below the source ({' against '.join(shares)})."
    best = found.best
    if best is None or best.shares.recovered is None or best.shares.recovered.interval is None:
        return (
            f"Nothing can be told: these deals hardly tell the target from the source, which is "
            f"{formats.percent(found.lost.share)} points above it on OOD "
            f"({formats.p_clause(found.lost.p)})."
        )
    return " ".join([_best(best, found), *_kept(best, found), *_versus(found)])


def _best(best: Picked, found: Recovery) -> str:
    """Which recipe is best, of how many, and what it recovers."""
    recovered = best.shares.recovered
    assert recovered is not None
    text = (
        f"{picked_words(best)} recovers {share_words(recovered)} of the {formats.percent(found.lost.share)} "
    )
    text += "points that the target lost on OOD"
    if recovered.interval and recovered.interval.low <= 0:
        text += "; chance alone can explain that"
    return text + ("" if best.shares.retained else ".")


def _kept(best: Picked, found: Recovery) -> list[str]:
    """What it retains, and the harmonic mean."""
    retained, harmonic = best.shares.retained, best.shares.harmonic
    if found.gained is None:
        return ["What it retains on ID was not measured."]
    if retained is None or harmonic is None:
        return ["The target gained nothing on ID that could be retained."]
    text = f"and retains {share_words(retained)} of the {formats.percent(found.gained.share)} points that it "
    return [f"{text}gained on ID: harmonic mean {share_words(harmonic)}."]


def _versus(found: Recovery) -> list[str]:
    """Whether spectral recipes or baselines are ahead."""
    if not found.spectral or not found.baselines:
        return [f"No {'baseline' if found.spectral else 'spectral recipe'} was scored."]
    spectral, baseline = found.pick(found.spectral), found.pick(found.baselines)
    lead = against_baseline(found)
    if spectral is None or baseline is None or lead is None or lead.interval is None:
        return []
    low, high = map(formats.points, lead.interval)
    measure = "harmonic mean" if found.scales.id else "recovered share"
    text = (
        f"{_best_of(spectral, 'spectral recipe')} against {_best_of(baseline, 'baseline')}, likewise: "
        f"{formats.points(lead.value)} points of {measure} (95 % interval {low} to {high})"
    )
    if lead.interval.low <= 0 <= lead.interval.high:
        end = "chance alone can explain that"
    else:
        end = f"the {'spectral recipe' if lead.value > 0 else 'baseline'} is ahead"
    return [f"{text[0].upper()}{text[1:]}; {end}."]


def _best_of(picked: Picked, kind: str) -> str:
    """``the best of 3 baselines (interpolate 0.5)``."""
    of = f"the best of {picked.among} {kind}s" if picked.among > 1 else f"the one {kind}"
    return f"{of} ({' and '.join(picked.labels)})"


def picked_words(best: Picked) -> str:
    """Which recipe was picked, from how many and how."""
    if best.among == 1:
        return f"The one recipe, {best.labels[0]},"
    first, *other = best.labels
    name = f"{first} on one half of the deals and {other[0]} on the other" if other else first
    return f"Best of {best.among} recipes, picked on each half of the deals and measured on the other: {name}"


def share_words(found: Share) -> str:
    """``65 % (95 % interval 49 to 84 %)``."""
    bounds = " to ".join(map(_whole, found.interval)) + " %" if found.interval else UNBOUNDED
    return f"{_whole(found.value)} % (95 % interval {bounds})"


def _whole(share: float) -> str:
    """In whole percent, which may leave 0 … 100."""
    text = f"{100 * share:.0f}".replace("-", formats.MINUS)
    return "0" if text == f"{formats.MINUS}0" else text


# -- plain values ----------------------------------------------------------------------------------------


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
        "ood": score_summary(found.ood),
        "id": found.id and score_summary(found.id),
        "ood_gain": _difference(found.ood_gain),
        "id_gain": found.id_gain and _difference(found.id_gain),
        **_shares(found.shares),
        "on_front": found.on_front,
    }


def _picked(found: Picked) -> dict[str, Any]:
    records = [each.ood.record.key for each in found.halves]
    return {"among": found.among, "labels": found.labels, "records": records, **_shares(found.shares)}


def _shares(found: Shares) -> dict[str, Any]:
    return {name: share and _share(share) for name, share in found._asdict().items()}


def _share(found: Share) -> dict[str, Any]:
    return {"value": found.value, "interval": found.interval and list(found.interval)}


def _reference(found: Reference) -> dict[str, Any]:
    of_id = found.id and score_summary(found.id)
    return {"name": found.name, "ood": score_summary(found.ood), "id": of_id, "on_front": found.on_front}


def _difference(found: Difference) -> dict[str, Any]:
    interval = list(found.interval)
    return {"difference": found.share, "interval": interval, "p": found.p, "p_holm": found.p_holm}
