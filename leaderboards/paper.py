"""The paper's protocol, reported and measured side by side. Pure: records in, tables out, one for each rule.

A dialogue of the paper's protocol can be counted in several ways: its reference takes five attempts and
compares in floats; ours compares exact fractions. Which filter reads the formula, how it is compared and how
many attempts count are told apart here, so that a reader sees what each of them moves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from points24.harness.analysis.comparison import repeated_hands
from points24.harness.analysis.statistics import Interval, clustered_wilson, wilson
from points24.harness.records.record import Record
from points24.tasks.protocols.protocol import DEFAULT
from points24.tasks.verdict import FLEXIBLE, PAPER, STRICT


class Reading(NamedTuple):
    """One way to count the same dialogues."""

    filter: str
    checker: str
    """``float`` or ``exact``: how the formula's value is compared with 24."""
    attempts: str
    """``all`` that the protocol allows, or the ``first`` alone."""


REPORTED = Reading(PAPER, "float", "all")
"""What the paper reports."""
READINGS = (
    REPORTED,
    Reading(PAPER, "exact", "all"),
    Reading(PAPER, "float", "first"),
    Reading(PAPER, "exact", "first"),
    Reading(STRICT, "exact", "all"),
    Reading(FLEXIBLE, "exact", "all"),
)
_BITS = {
    ("exact", "all"): "outcomes",
    ("exact", "first"): "first_outcomes",
    ("float", "all"): "float_outcomes",
    ("float", "first"): "float_first_outcomes",
}
"""(checker, attempts) -> the field of a record that holds its outcomes."""


class Count(NamedTuple):
    """Deals won under one reading, with their 95 % interval."""

    k: int
    n: int
    interval: Interval


@dataclass(frozen=True)
class PaperRow:
    """One checkpoint under one rule."""

    record: Record
    """The reported one, or the measured one under ``paper-match``."""
    counts: dict[Reading, Count]
    """Without the readings that are not known."""


@dataclass(frozen=True)
class PaperTable:
    """The rows of one rule, highest first by what the paper reports."""

    rule: str
    rows: tuple[PaperRow, ...]


def paper_tables(records: Iterable[Record]) -> list[PaperTable]:
    """The tables of ID and OOD that have a measured row; without one, the reported rows have their own table.

    Where a checkpoint was scored again in the same way, the newest record counts.
    """
    reported: dict[str, list[PaperRow]] = defaultdict(list)
    measured: dict[tuple[object, ...], dict[str, Record]] = defaultdict(dict)
    for record in sorted(records, key=lambda r: (r.date or "", r.key)):
        if record.hand_set not in ("id_paper", "ood_paper"):
            continue
        if record.status == "reported":
            count = Count(record.k, record.n, wilson(record.k, record.n))
            reported[record.rule].append(PaperRow(record, {REPORTED: count}))
        elif record.attempts > 1 and record.protocol != DEFAULT:
            measured[_asked(record)][record.filter or ""] = record
    rows: dict[str, list[PaperRow]] = defaultdict(list)
    for by_filter in measured.values():
        if PAPER in by_filter:
            rows[by_filter[PAPER].rule].append(PaperRow(by_filter[PAPER], _counts(by_filter)))
    return [
        PaperTable(rule, tuple(sorted([*reported[rule], *rows[rule]], key=_order)))
        for rule in ("id", "ood")
        if rows[rule]
    ]


def _asked(record: Record) -> tuple[object, ...]:
    """What the records of one checkpoint's dialogues share under every filter."""
    decoding = repr(sorted((record.decoding or {}).items()))
    return (
        *(record.label, record.weights_sha256, record.rule, record.n, record.attempts),
        *(record.protocol, record.protocol_digest, record.template_digest, record.num_fewshot, decoding),
    )


def _counts(by_filter: dict[str, Record]) -> dict[Reading, Count]:
    found = {}
    for reading in READINGS:
        record = by_filter.get(reading.filter)
        bits = record and getattr(record, _BITS[reading.checker, reading.attempts])
        if record and bits:
            found[reading] = Count(bits.count("1"), record.n, _interval(record, bits))
    return found


def _interval(record: Record, bits: str) -> Interval:
    hands = repeated_hands(record)
    if hands is None:
        return wilson(bits.count("1"), record.n)
    return clustered_wilson([int(bit) for bit in bits], hands)


def _order(row: PaperRow) -> tuple[object, ...]:
    count = row.counts.get(REPORTED) or next(iter(row.counts.values()))
    return (-count.k / count.n, row.record.label, row.record.source or "", row.record.key)
