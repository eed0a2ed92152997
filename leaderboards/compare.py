"""Two records of one protocol, deal by deal, and what that says in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from points24.harness.analysis import formats
from points24.harness.analysis.comparison import ALPHA, Difference, difference, terms_of
from points24.harness.analysis.statistics import paired_deals_needed
from points24.harness.records.record import Record
from points24.leaderboards.aggregate import flipped
from points24.leaderboards.render import wording
from points24.tasks.cards import Deal
from points24.tasks.errors import InputError

_KEY_DIGITS = 6
_LISTED = 10

SHOWN_HANDS = 20
"""Flipped hands that are named in the terminal."""


def select(records: Sequence[Record], name: str) -> list[Record]:
    """The records that a name means: a model, a label with or without its source, or digits of a key.

    A key may be cut to six digits or more. Of several runs of one checkpoint under one protocol the newest
    counts.

    Raises:
        InputError: none, with the names there are.
    """
    chosen = [r for r in records if name in (r.model, r.label, _full_name(r))]
    if not chosen and len(name) >= _KEY_DIGITS:
        chosen = [r for r in records if r.key.startswith(name)]
    if not chosen:
        names = sorted({_full_name(r) for r in records})
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        shown = ", ".join(names[:_LISTED]) + more
        raise InputError(f"no record of {name!r}; {meant}allowed: a record's key, or one of {shown}")
    newest = {}
    for record in sorted(chosen, key=lambda r: (r.date or "", r.key)):
        newest[terms_of(record), _full_name(record)] = record
    return list(newest.values())


def pairs(records: Sequence[Record], a: str, b: str) -> list[tuple[Record, Record]]:
    """The records of a and b that share a protocol.

    Raises:
        InputError: either is unknown, they share no protocol, or a name means two checkpoints.
    """
    sides = []
    for name in (a, b):
        by_terms = {}
        for record in select(records, name):
            if other := by_terms.get(terms_of(record)):
                raise InputError(
                    f"{name!r} may be {_full_name(other)!r} or {_full_name(record)!r}; name one of them"
                )
            by_terms[terms_of(record)] = record
        sides.append(by_terms)
    shared = [terms for terms in sides[0] if terms in sides[1]]
    if not shared:
        raise InputError(f"{a!r} and {b!r} share no protocol: nothing to compare")
    return [(sides[0][terms], sides[1][terms]) for terms in shared]


def sentence(a: Record, b: Record, found: Difference) -> str:
    """The reading of a comparison in words."""
    low, high = found.interval
    if found.share == 0:
        gap = f"{a.label} and {b.label} win equally often"
    else:
        better, worse = (a, b) if found.share > 0 else (b, a)
        low, high = (low, high) if better is a else (-high, -low)
        gap = f"{better.label} wins {formats.points(abs(found.share))[1:]} points more than {worse.label}"
    bounds = f"95 % interval of the difference {formats.points(low)} to {formats.points(high)}"
    if found.p < ALPHA:
        return f"{gap} ({bounds}, {formats.p_clause(found.p)}): a real difference on these deals."
    if found.share == 0:
        return f"{gap} ({bounds}, {formats.p_clause(found.p)})."
    return f"{gap} ({bounds}, {formats.p_clause(found.p)}): chance alone can explain that{_needed(found)}."


def lines(a: Record, b: Record) -> list[str]:
    """The comparison for the terminal."""
    found = difference(a, b)
    out = [f"{wording.title(terms_of(a))}: A = {a.label} {formats.won(a)}, B = {b.label} {formats.won(b)}"]
    if found.table:
        width = len(str(a.n))
        both, only_a, only_b, neither = (f"{int(count):>{width}}" for count in found.table)
        out += [
            f"           {'B won':>{width + 5}} {'B lost':>{width + 6}}",
            f"  A won    {both:>{width + 5}} {only_a:>{width + 6}}",
            f"  A lost   {only_b:>{width + 5}} {neither:>{width + 6}}",
        ]
    elif a.repeats == 1:
        out.append("  without per-deal outcomes: a test of two samples, which needs larger gaps")
    won, lost = flipped(a, b)
    out += [f"  only {side} wins: {_hands(deals)}" for side, deals in (("A", won), ("B", lost)) if deals]
    return [*out, f"  {sentence(a, b, found)}"]


def as_json(a: Record, b: Record) -> dict[str, object]:
    """The comparison for machines."""
    found = difference(a, b)
    won, lost = flipped(a, b)
    return {
        "protocol": terms_of(a)._asdict(),
        "a": {"label": a.label, "key": a.key, "k": a.k},
        "b": {"label": b.label, "key": b.key, "k": b.k},
        "table": found.table and {name: int(n) for name, n in found.table._asdict().items()},
        "difference": found.share,
        "interval": list(found.interval),
        "p": found.p,
        "only_a": [list(deal.cards) for deal in won],
        "only_b": [list(deal.cards) for deal in lost],
        "sentence": sentence(a, b, found),
    }


def _full_name(record: Record) -> str:
    return f"{record.source} {record.label}" if record.source else record.label


def _hands(deals: Sequence[Deal]) -> str:
    shown = ", ".join(" ".join(deal.cards) for deal in deals[:SHOWN_HANDS])
    more = len(deals) - SHOWN_HANDS
    return f"{shown} and {more:,} more (--json lists them)" if more > 0 else shown


def _needed(found: Difference) -> str:
    """How many deals would show a gap of this size, where the two disagree as often as they do here."""
    if found.table is None or found.share == 0:
        return ""
    discordant = (found.table.only_a + found.table.only_b) / found.table.n
    return f"; to see such a gap takes {paired_deals_needed(found.share, discordant):,} deals"
