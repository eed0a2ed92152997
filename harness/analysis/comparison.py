"""Records side by side: the interval of one, and how two of one protocol differ, deal by deal."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from points24.harness.analysis.statistics import (
    Interval,
    Paired,
    clustered_paired_interval,
    clustered_wilson,
    mcnemar,
    paired_interval,
    ratio_interval,
    sign_flip,
    two_shares,
    two_shares_interval,
    wilson,
)
from points24.harness.records.decoding import GREEDY, decoding_in_words
from points24.harness.records.record import Record
from points24.tasks.cards import hand_of, parse_any_rule
from points24.tasks.hand_sets import HandSet, hand_set
from points24.tasks.lm_eval.files import task_version
from points24.tasks.protocols.protocol import DEFAULT
from points24.tasks.sampling import estimate_names, estimates

ALPHA = 0.05
_SHOWN = 60
"""Characters of a name in a file's name, which may have 255 bytes."""


class Terms(NamedTuple):
    """What two records must share to stand in one table: they answer the same question on the same deals.

    Its words call that a protocol; the field `protocol` names the one of `points24.tasks.protocols`.
    """

    status: str
    task: str | None
    task_version: str | None
    hand_set: str
    rule: str
    target: int
    hand_set_digest: str | None
    template_digest: str | None
    num_fewshot: int
    attempts: int
    filter: str | None
    n: int
    protocol: str = DEFAULT
    protocol_digest: str | None = None
    decoding: str = GREEDY
    repeats: int = 1

    @property
    def slug(self) -> str:
        """A file name: the readable parts, and eight digits of a digest over all of them."""
        # What is as ever is left out, so that tables keep the names of their files.
        parts = tuple(self) if self.repeats > 1 else tuple(self)[:-1]
        parts = parts[:-1] if self.decoding == GREEDY else parts
        if self.protocol == DEFAULT and self.decoding == GREEDY:
            parts = parts[:-2]
        digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:8]
        parts = (self.task or f"reported_{self.hand_set}", self.filter, digest)
        return "-".join(re.sub(r"\W+", "_", part)[:_SHOWN] for part in parts if part)


@dataclass(frozen=True)
class Score:
    """A record and the 95 % interval of its accuracy."""

    record: Record
    interval: Interval

    @property
    def share(self) -> float:
        """Accuracy, 0 … 1."""
        return self.record.accuracy


class Difference(NamedTuple):
    """How one record differs from another, `against`, on the same deals."""

    against: Record
    share: float
    """Difference of the accuracies, −1 … 1; `interval` is its 95 % interval."""
    interval: Interval
    p: float
    p_holm: float
    """Adjusted for all tests that are shown with it; `p` where it stands alone."""
    table: Paired | None
    """The contingency table, where both records have outcomes."""

    @property
    def is_clear(self) -> bool:
        return self.p_holm < ALPHA


def terms_of(record: Record) -> Terms:
    found = Terms(
        **{name: getattr(record, name) for name in Terms._fields if name != "decoding"},
        decoding=decoding_in_words(record.protocol, record.decoding),
    )
    # Records of the default protocol from before there were others do not say so.
    return found._replace(protocol_digest=None) if record.protocol == DEFAULT else found


def hands_of(record: Record) -> HandSet | None:
    """The hand set behind a record's outcomes; None for a reported figure or an older task version."""
    if record.outcomes is None or record.task is None or record.task_version != task_version(record.task):
        return None
    return hand_set(record.hand_set, parse_any_rule(record.rule), record.target)


def interval_of(record: Record) -> Interval:
    """95 % interval of a record's accuracy; Wilson's, corrected where hands repeat."""
    hands = repeated_hands(record)
    if record.correct is None or (hands is None and record.repeats == 1):
        return wilson(record.k, record.n)
    shares = [count / record.repeats for count in record.correct]
    return clustered_wilson(shares, hands or range(record.n), record.repeats)


def sampling_of(record: Record) -> dict[str, tuple[float, Interval]]:
    """pass@k and maj@k with their 95 % intervals over deals; empty without several samples."""
    if record.samples is None:
        return {}
    hands = repeated_hands(record) or range(record.n)
    columns = zip(*(estimates(tuple(each)) for each in record.samples), strict=True)
    return {
        name: (sum(values) / record.n, clustered_wilson(values, hands, record.repeats))
        for name, values in zip(estimate_names(record.repeats), columns, strict=True)
    }


def score_of(record: Record) -> Score:
    return Score(record, interval_of(record))


def difference(a: Record, b: Record) -> Difference:
    """How a differs from b, paired deal by deal where both have outcomes.

    Raises:
        ValueError: they differ in protocol.
    """
    if terms_of(a) != terms_of(b):
        raise ValueError(f"records of different protocols: {terms_of(a)} and {terms_of(b)}")
    if a.samples and b.samples:
        return _sampled_difference(a, b)
    share = (a.k - b.k) / a.n
    if a.outcomes is None or b.outcomes is None:
        p = two_shares(a.k, a.n, b.k, b.n)
        return Difference(b, share, two_shares_interval(a.k, a.n, b.k, b.n), p, p, None)
    table = paired_table(a.outcomes, b.outcomes)
    hands = repeated_hands(a)
    if hands is None:
        p = mcnemar(int(table.only_a), int(table.only_b))
        return Difference(b, share, paired_interval(table), p, p, table)
    differences = [int(x) - int(y) for x, y in zip(a.outcomes, b.outcomes, strict=True)]
    p = sign_flip(differences, hands)
    return Difference(b, share, clustered_paired_interval(table, differences, hands), p, p, table)


def _sampled_difference(a: Record, b: Record) -> Difference:
    """pass@1 of a less that of b, paired deal by deal: Student's interval over hands; a sign-flip test."""
    gains = [x - y for x, y in zip(a.correct or (), b.correct or (), strict=True)]
    hands = repeated_hands(a) or range(a.n)
    interval = ratio_interval(gains, [float(a.repeats)] * a.n, hands) or Interval(-1.0, 1.0)
    p = sign_flip(gains, hands)
    return Difference(b, (a.wins - b.wins) / (a.n * a.repeats), interval, p, p, None)


def recovered_share(
    recovered: Record, source: Record, target: Record
) -> tuple[float, Interval | None] | None:
    """The share of the target's loss that a recovered checkpoint regains, and its 95 % interval.

    (recovered − target) / (source − target) in accuracy, over the same deals: 0 at the target, 1 at the
    source, and possibly outside 0 … 1. The interval is Fieller's: None (unbounded) where chance alone can
    explain the loss.

    Returns:
        None where the target is at least as accurate as the source: nothing was lost.

    Raises:
        ValueError: they differ in protocol, or have no outcomes.
    """
    r, s, t = (record.correct for record in (recovered, source, target))
    terms = {terms_of(record) for record in (recovered, source, target)}
    if len(terms) > 1 or r is None or s is None or t is None:
        raise ValueError("expected records of one protocol with outcomes")
    if sum(s) <= sum(t):
        return None
    gains = [x - y for x, y in zip(r, t, strict=True)]
    losses = [x - y for x, y in zip(s, t, strict=True)]
    return sum(gains) / sum(losses), ratio_interval(gains, losses, repeated_hands(target))


def paired_table(a: str, b: str) -> Paired:
    """The contingency table of two outcome strings of one length."""
    bits_a, bits_b = int(a, 2), int(b, 2)
    both = (bits_a & bits_b).bit_count()
    only_a, only_b = bits_a.bit_count() - both, bits_b.bit_count() - both
    return Paired(both, only_a, only_b, len(a) - both - only_a - only_b)


def repeated_hands(record: Record) -> tuple[object, ...] | None:
    """The hand of each deal played, where some come more than once; else None."""
    hands = hands_of(record)
    return None if hands is None else _repeats(hands.name, hands.rule.name, hands.target, record.n)


@lru_cache(maxsize=256)
def _repeats(name: str, rule: str, target: int, n: int) -> tuple[object, ...] | None:
    played = tuple(hand_of(deal.cards) for deal in hand_set(name, parse_any_rule(rule), target).deals[:n])
    return played if len(set(played)) < n else None
