"""Records -> tables: one per protocol, ranked, with intervals and tests. Values in, values out."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from points24.harness.records import FILTERS, Record, task_version
from points24.harness.statistics import (
    Interval,
    Paired,
    clustered_paired_interval,
    clustered_wilson,
    holm,
    mcnemar,
    paired_interval,
    sign_flip,
    two_shares,
    two_shares_interval,
    wilson,
)
from points24.tasks.cards import Deal, hand_of, parse_rule
from points24.tasks.hand_sets import HandSet, hand_set

ALPHA = 0.05


class Protocol(NamedTuple):
    """What two records must share to stand in one table: they answer the same question on the same deals."""

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

    @property
    def slug(self) -> str:
        """A file name: the readable parts, and eight digits of a digest over all of them."""
        digest = hashlib.sha256(repr(tuple(self)).encode()).hexdigest()[:8]
        parts = (self.task or f"reported_{self.hand_set}", self.filter, digest)
        return "-".join(re.sub(r"\W+", "_", part) for part in parts if part)


class Difference(NamedTuple):
    """How one record differs from another on the same deals.

    Attributes:
        against: the other record.
        share: difference of the accuracies, −1 … 1.
        interval: its 95 % interval.
        p: that of the test.
        p_holm: adjusted for all tests of the table; `p` where it stands alone.
        table: the 2×2, where both records have outcomes.
    """

    against: Record
    share: float
    interval: Interval
    p: float
    p_holm: float
    table: Paired | None

    @property
    def is_clear(self) -> bool:
        return self.p_holm < ALPHA


@dataclass(frozen=True)
class Row:
    """One record in its table. `parent` and `best` are None where there is nothing to compare with."""

    record: Record
    interval: Interval
    weighted: float | None
    """Accuracy with each hand weighted by its probability under the paper's sampling."""
    parent: Difference | None
    best: Difference | None

    @property
    def share(self) -> float:
        return self.record.k / self.record.n


@dataclass(frozen=True)
class Table:
    """Rows of one protocol, best first; equal rows by label, then date."""

    protocol: Protocol
    rows: tuple[Row, ...]


def protocol_of(record: Record) -> Protocol:
    return Protocol(*(getattr(record, name) for name in Protocol._fields))


def tables(records: Iterable[Record]) -> list[Table]:
    """Every table: measured before reported, then by task, filter and the rest of the protocol."""
    groups: dict[Protocol, list[Record]] = defaultdict(list)
    for record in records:
        groups[protocol_of(record)].append(record)
    return [_table(protocol, groups[protocol]) for protocol in sorted(groups, key=_order)]


def hands_of(record: Record) -> HandSet | None:
    """The hand set behind a record's outcomes; None for a reported figure or an older task version."""
    if record.outcomes is None or record.task is None or record.task_version != task_version(record.task):
        return None
    return hand_set(record.hand_set, parse_rule(record.rule), record.target)


def interval_of(record: Record) -> Interval:
    """95 % interval of a record's accuracy; Wilson's, corrected where hands repeat."""
    hands = _repeated_hands(record)
    if record.outcomes is None or hands is None:
        return wilson(record.k, record.n)
    return clustered_wilson([int(bit) for bit in record.outcomes], hands)


def difference(a: Record, b: Record) -> Difference:
    """How a differs from b, paired deal by deal where both have outcomes.

    Raises:
        ValueError: they differ in protocol.
    """
    if protocol_of(a) != protocol_of(b):
        raise ValueError(f"records of different protocols: {protocol_of(a)} and {protocol_of(b)}")
    share = (a.k - b.k) / a.n
    if a.outcomes is None or b.outcomes is None:
        p = two_shares(a.k, a.n, b.k, b.n)
        return Difference(b, share, two_shares_interval(a.k, a.n, b.k, b.n), p, p, None)
    table = paired_table(a.outcomes, b.outcomes)
    hands = _repeated_hands(a)
    if hands is None:
        p = mcnemar(int(table.only_a), int(table.only_b))
        return Difference(b, share, paired_interval(table), p, p, table)
    differences = [int(x) - int(y) for x, y in zip(a.outcomes, b.outcomes, strict=True)]
    p = sign_flip(differences, hands)
    return Difference(b, share, clustered_paired_interval(table, differences, hands), p, p, table)


def paired_table(a: str, b: str) -> Paired:
    """The 2×2 of two outcome strings of one length."""
    bits_a, bits_b = int(a, 2), int(b, 2)
    both = (bits_a & bits_b).bit_count()
    only_a, only_b = bits_a.bit_count() - both, bits_b.bit_count() - both
    return Paired(both, only_a, only_b, len(a) - both - only_a - only_b)


def flipped(a: Record, b: Record) -> tuple[list[Deal], list[Deal]]:
    """The deals that a alone wins, and those that b alone wins; empty without outcomes and hand set."""
    hands = hands_of(a)
    if hands is None or a.outcomes is None or b.outcomes is None:
        return [], []
    pairs = list(zip(hands.deals, a.outcomes, b.outcomes, strict=False))
    return (
        [deal for deal, x, y in pairs if (x, y) == ("1", "0")],
        [deal for deal, x, y in pairs if (x, y) == ("0", "1")],
    )


def _order(protocol: Protocol) -> tuple[str, ...]:
    strict_first = "01"[protocol.filter == FILTERS[1]]
    parts = protocol._replace(filter=strict_first)
    return tuple(f"{part:>12}" if isinstance(part, int) else str(part or "") for part in parts)


def _table(protocol: Protocol, records: Sequence[Record]) -> Table:
    ranked = sorted(records, key=lambda r: (-r.k, r.label, r.date or "", r.key))
    newest: dict[str, Record] = {}
    for record in sorted(records, key=lambda r: (r.date or "", r.key)):
        newest[record.model] = newest[record.label] = record
    best = ranked[0]
    rows = []
    for record in ranked:
        parent = newest.get(record.parent) if record.parent else None
        rows.append(
            Row(
                record,
                interval_of(record),
                _weighted(record),
                difference(record, parent) if parent and parent is not record else None,
                difference(record, best) if record is not best else None,
            )
        )
    return Table(protocol, tuple(_adjusted(rows)))


def _adjusted(rows: Sequence[Row]) -> list[Row]:
    """The rows with Holm's adjustment over every test among them.

    A row whose parent is the best row is one test, shown twice.
    """
    tests = {
        (row.record.key, d.against.key): d for row in rows for d in (row.parent, row.best) if d is not None
    }
    adjusted = dict(zip(tests, holm([d.p for d in tests.values()]), strict=True))

    def shown(row: Row, d: Difference | None) -> Difference | None:
        return d and d._replace(p_holm=adjusted[row.record.key, d.against.key])

    return [replace(row, parent=shown(row, row.parent), best=shown(row, row.best)) for row in rows]


def _weighted(record: Record) -> float | None:
    hands = hands_of(record)
    if hands is None or record.outcomes is None:
        return None
    weights = hands.weights[: record.n]
    won = sum(weight for weight, bit in zip(weights, record.outcomes, strict=True) if bit == "1")
    return won / sum(weights)


def _repeated_hands(record: Record) -> tuple[object, ...] | None:
    """The hand of each deal played, where some come more than once; else None."""
    hands = hands_of(record)
    return None if hands is None else _repeats(hands.name, hands.rule.name, hands.target, record.n)


@lru_cache(maxsize=256)
def _repeats(name: str, rule: str, target: int, n: int) -> tuple[object, ...] | None:
    played = tuple(hand_of(deal.cards) for deal in hand_set(name, parse_rule(rule), target).deals[:n])
    return played if len(set(played)) < n else None
