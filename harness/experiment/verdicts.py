"""Claims and their verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from points24.harness.experiment.measures import Measure

HOLDS, FAILS, OPEN = "holds", "does not hold", "inconclusive"

CLAIMED, AT_LEAST = 0.7, 0.5
"""Of the lost OOD accuracy: the least share that the paper reports as recovered, and the bound that the
intervals must exceed."""

ABOVE_RULE = (
    "A number is above a bound if each of its 95 % intervals lies above it, and not above it if each ends at "
    "the bound or below. It has two intervals, over the seeds and over the deals; with one seed, or where "
    "all seeds agree exactly, the one over the deals alone. A claim that needs several numbers above a bound "
    "holds if all are, does not hold if one is not, and is inconclusive otherwise, or where a number is "
    "missing."
)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim with its verdict."""

    label: str
    """``2a``."""
    what: str
    """The claim in a few words."""
    paper: str
    """What the paper reports, in a few words."""
    rule: str
    """When the claim holds."""
    verdict: str
    decides: tuple[Measure, ...]
    """The measures that the rule speaks of."""
    context: tuple[Measure, ...]
    """Further measures, which do not decide."""
    caveat: Measure | None = None
    """A measure of the context that qualifies the verdict and is shown beside it."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding of the paper: one or two claims."""

    title: str
    paper: str
    """What the paper says, in our words."""
    source: str
    claims: tuple[Claim, ...]
    note: str
    """How to read its numbers."""


def above_zero(measures: Sequence[Measure]) -> str:
    """The verdict on a claim that all are above 0."""
    if all(measure.is_above(0) for measure in measures):
        return HOLDS
    return FAILS if any(measure.is_not_above(0) for measure in measures) else OPEN


def recovers(share: Measure) -> str:
    """The verdict on a claim that 70 % or more of a loss is recovered."""
    if share.mean is not None and share.mean >= CLAIMED and share.is_above(AT_LEAST):
        return HOLDS
    return FAILS if share.is_not_above(CLAIMED) else OPEN
