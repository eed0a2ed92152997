"""Numbers of one seed, from its records: accuracies, gains and ratios, with values per deal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from points24.harness.analysis.comparison import difference, hands_of, interval_of, recovered_share
from points24.harness.analysis.curve import Curve
from points24.harness.analysis.retention import Share, Shares, bits_of
from points24.harness.analysis.statistics import Interval, Paired, paired_interval, t_interval, wilson
from points24.harness.records.record import Record
from points24.tasks.cards import has_face
from points24.tasks.verdict import Verdict

_ROUNDING = 1e-12
"""Values that differ by less are equal."""

Deals = NDArray[np.float64]
"""A value per deal, (deals,)."""


@dataclass(frozen=True)
class Value:
    """One number of one seed."""

    share: float
    interval: Interval | None = None
    """95 % over the deals."""
    deals: Deals | None = field(default=None, repr=False, compare=False)
    """A value per deal, whose mean is `share`. Those of a ratio are linearised: see `ratio`."""
    is_unbounded: bool = False
    """Whether this is a ratio whose denominator may be 0: then it is not defined, and must not be shown."""


_NOT_DEFINED = Value(0.0, is_unbounded=True)


def value_of(share: Share | None, *, is_bounded: bool = False) -> Value | None:
    """A share of what is recovered or retained; `is_bounded` if it lies in 0 … 1 by definition."""
    return share and Value(share.value, share.interval, is_unbounded=not (share.interval or is_bounded))


def share_values(shares: Shares, *, id_is_scored: bool) -> dict[str, Value | None]:
    """Field of `Shares` -> its value: unbounded where it is not defined, None where it is not measured."""
    measured = {"recovered"} | ({"retained", "harmonic"} if id_is_scored else set())
    return {
        name: value_of(share, is_bounded=name == "harmonic") or (_NOT_DEFINED if name in measured else None)
        for name, share in shares._asdict().items()
    }


def spread_interval(values: Sequence[float]) -> Interval | None:
    """Student's interval of the mean; None for equal values, which say nothing about their spread."""
    if not values or max(values) - min(values) < _ROUNDING:
        return None
    return t_interval(values)


def accuracy(record: Record | None) -> Value | None:
    """With Wilson's interval."""
    return record and Value(record.accuracy, interval_of(record), bits_of(record))


def verdict_share(record: Record | None, verdict: Verdict) -> Value | None:
    """The share of replies with a verdict. Records only count verdicts, so there is no value per deal."""
    share = record and record.verdict_share(verdict)
    if record is None or share is None:
        return None
    return Value(share, wilson(round(share * record.n), record.n))


def gain(a: Record | None, b: Record | None) -> Value | None:
    """Accuracy of a less that of b, over the same deals, with Tango's interval."""
    if a is None or b is None:
        return None
    found = difference(a, b)
    return Value(found.share, found.interval, bits_of(a) - bits_of(b))


def gain_of_bits(a: Deals, b: Deals) -> Value:
    """As `gain`, from outcomes per deal that may come from several records."""
    only_a, only_b = float((a > b).sum()), float((a < b).sum())
    both = float(a @ b)
    table = Paired(both, only_a, only_b, len(a) - both - only_a - only_b)
    return Value(table.difference, paired_interval(table), a - b)


def less(a: Value | None, b: Value | None) -> Value | None:
    """A − b, deal by deal where both have a value per deal; unbounded if either is."""
    if a is None or b is None:
        return None
    share = a.share - b.share
    if a.deals is None or b.deals is None:
        return Value(share)
    deals, unbounded = a.deals - b.deals, a.is_unbounded or b.is_unbounded
    return Value(share, None if unbounded else spread_interval(deals.tolist()), deals, unbounded)


def ratio(checkpoint: Record | None, source: Record | None, target: Record | None) -> Value | None:
    """The share of the target's loss against the source that a checkpoint recovers: see `recovered_share`.

    With g the gain and l the loss on a deal, R = mean(g) / mean(l). Its value per deal is the linearisation
    R + (g − R l) / mean(l), whose mean is R and whose spread is that of R to first order (Cochran 1977,
    Sampling Techniques, 2.11). For g = (1, 0, 0, 0) and l = (1, 1, 0, 0), R = 1/2 and the values are
    (3/2, −1/2, 1/2, 1/2).
    """
    if checkpoint is None or source is None or target is None:
        return None
    found = recovered_share(checkpoint, source, target)
    if found is None:
        return None
    share, interval = found
    gains, losses = bits_of(checkpoint) - bits_of(target), bits_of(source) - bits_of(target)
    deals = share + (gains - share * losses) / losses.mean()
    return Value(share, interval, deals, is_unbounded=interval is None)


def peak_picks(found: Curve) -> tuple[int, int]:
    """For the deals at even and at odd places, the step with the best OOD accuracy on the *other* half.

    The maximum over steps is biased upwards if the same deals pick it and measure it; this way they do not.
    Of equal steps the first counts.
    """
    steps = [step for step in found.ood if step]

    def best(half: int) -> int:
        return max(steps, key=lambda step: bits_of(found.ood[step])[half::2].sum())

    return best(1), best(0)


def at_picks(records: dict[int, Record], picks: tuple[int, int]) -> Deals:
    """Outcomes per deal, of one step at even places and of another at odd ones."""
    even, odd = (bits_of(records[step]) for step in picks)
    return np.where(np.arange(len(even)) % 2 == 0, even, odd)


def plain_hands(record: Record | None) -> Value | None:
    """Accuracy on the deals without a face card among those of a record."""
    hands = record and hands_of(record)
    if record is None or hands is None:
        return None
    plain = [bit for bit, deal in zip(bits_of(record), hands.deals, strict=False) if not has_face(deal.cards)]
    if not plain:
        return None
    return Value(sum(plain) / len(plain), wilson(sum(plain), len(plain)), np.array(plain))
