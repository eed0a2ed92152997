"""Shift records and foretellings for readers: the rows of tables, and a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from points24.harness.analysis import formats
from points24.harness.analysis.foretelling import (
    ID_ACCURACY,
    ID_LOSS,
    PREFERENCE,
    STEP,
    TRAINING_LOSS,
    Correlation,
    Foretelling,
    Trajectory,
    Turn,
    ood_turns,
)
from points24.harness.records.shift import Estimate, ShiftRecord

_COLUMNS = {
    "NLL": "nll",
    "NLL, rival": "nll_rival",
    "rule preference": "preference",
    "of the numbers": "preference_numbers",
    "KL, samples": "kl_samples",
}
_USUAL = (TRAINING_LOSS, ID_LOSS, ID_ACCURACY)
"""What people look at today."""


def belief_table(records: Iterable[ShiftRecord]) -> list[dict[str, str]]:
    """A row per checkpoint and task, in nats; ``wrong rule``: the share of deals on which it is preferred."""
    rows = []
    for each in records:
        row = {"checkpoint": each.model, "task": each.task}
        row |= {column: _nats(each.measures.get(name)) for column, name in _COLUMNS.items()}
        share = each.measures.get("rival_preferred")
        row["wrong rule"] = f"{formats.percent(share.mean)} %" if share else ""
        ckas = [layer.cka for layer in each.layers if layer.cka is not None]
        rows.append(row | {"CKA": f"{fmean(ckas):.3f}" if ckas else ""})
    return rows


def foretelling_table(found: Sequence[Foretelling]) -> list[dict[str, str]]:
    """A row per quantity, in the order given."""
    return [
        {
            "quantity": each.quantity.label,
            "loss to come": correlation(each.to_come),
            "loss so far": correlation(each.so_far),
            "loss to come, at equal steps": correlation(each.at_equal_steps),
            "turns by step": _turned(each.turns),
        }
        for each in found
    ]


def foretelling_sentence(found: Sequence[Foretelling], runs: Sequence[Trajectory]) -> str:
    """Which quantity foretells the loss, and whether the rule preference and the losses turn before it."""
    if not found:
        return "No run has shift records and OOD scores at two steps or more: nothing to compare."
    parts = [_closest(found, runs), _leads(found, ood_turns(runs))]
    return " ".join(filter(None, parts))


def _closest(found: Sequence[Foretelling], runs: Sequence[Trajectory]) -> str:
    over = f"Over {sum(len(run.steps) for run in runs)} checkpoints of {_count(len(runs), 'run')}"
    known = [each for each in found if each.at_equal_steps and each.quantity.key != STEP]
    if not known:
        step = next(each for each in found if each.quantity.key == STEP)
        others = [each for each in found if each.to_come and each is not step]
        best = max(others, key=lambda each: abs(each.to_come.r) if each.to_come else 0, default=step)
        return (
            f"{over}, what goes with the OOD loss to come most closely is {best.quantity.label} (rank "
            f"correlation {correlation(best.to_come)}; the step itself {correlation(step.to_come)}); fewer "
            "than three runs cannot be compared at equal steps."
        )
    best = max(known, key=lambda each: abs(each.at_equal_steps.r) if each.at_equal_steps else 0)
    usual = ", ".join(
        f"{each.quantity.label} {correlation(each.at_equal_steps)}"
        for each in known
        if each.quantity.key in _USUAL and each is not best
    )
    clear = [each for each in known if each.at_equal_steps and each.at_equal_steps.is_clear]
    told = "" if clear else "; no interval excludes 0, so none tells which run will lose more"
    return (
        f"{over}, at equal steps {best.quantity.label} goes with the OOD loss to come most closely (rank "
        f"correlation {correlation(best.at_equal_steps)}{f'; {usual}' if usual else ''}){told}."
    )


def _leads(found: Sequence[Foretelling], ood: Sequence[Turn]) -> str:
    """How many steps before OOD accuracy the rule preference turns, and whether the usual quantities do."""
    turns = {each.quantity.key: each.turns for each in found if each.turns}
    if PREFERENCE not in turns:
        return ""
    text = _lead("The rule preference", turns[PREFERENCE], ood)
    usual = [
        _lead(name, turns[key], ood)
        for key, name in ((ID_LOSS, "The ID loss"), (ID_ACCURACY, "ID accuracy"))
        if key in turns
    ]
    return " ".join([text, *usual])


def _lead(name: str, turns: Sequence[Turn], ood: Sequence[Turn]) -> str:
    """``The rule preference turns 15 steps before OOD accuracy falls (by step 10, against 25; …).``"""
    seen = [turn.seen_by for turn in turns if turn.seen_by is not None]
    of = f"{len(seen)} of {_count(len(turns), 'run')}"
    if not seen:
        return f"{name} does not get worse in any of {_count(len(turns), 'run')}."
    pairs = [(a.seen_by, b.seen_by) for a, b in zip(turns, ood, strict=True)]
    both = [(mine, theirs) for mine, theirs in pairs if mine is not None and theirs is not None]
    if not both:
        return f"{name} turns by step {fmean(seen):.0f} in {of}; OOD accuracy is not seen to fall in them."
    lead = fmean(theirs - mine for mine, theirs in both)
    when = (
        f"{lead:.0f} steps before OOD accuracy falls"
        if lead > 0
        else f"{-lead:.0f} steps after OOD accuracy has fallen"
        if lead < 0
        else "at the step at which OOD accuracy falls"
    )
    mine, theirs = (fmean(each[i] for each in both) for i in (0, 1))
    return f"{name} turns {when} (mean over the runs: by step {mine:.0f}, against {theirs:.0f}; {of})."


def _turned(turns: Sequence[Turn]) -> str:
    """``10 (6 of 6)``: the mean step over the runs in which it turns."""
    if not turns:
        return ""
    seen = [turn.seen_by for turn in turns if turn.seen_by is not None]
    of = f"({len(seen)} of {len(turns)})"
    return f"{fmean(seen):.0f} {of}" if seen else f"never {of}"


def correlation(found: Correlation | None) -> str:
    if found is None:
        return ""
    text = _signed(found.r)
    return text if found.interval is None else f"{text} [{', '.join(map(_signed, found.interval))}]"


def _signed(value: float) -> str:
    text = f"{value:+.2f}".replace("-", formats.MINUS)
    return "0.00" if text in ("+0.00", f"{formats.MINUS}0.00") else text


def _nats(found: Estimate | None) -> str:
    if found is None:
        return ""
    text = f"{found.mean:.3f}"
    bounds = found.interval
    return (text if bounds is None else f"{text} [{bounds[0]:.3f}, {bounds[1]:.3f}]").replace(
        "-", formats.MINUS
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
