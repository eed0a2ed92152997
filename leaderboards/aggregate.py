"""Records -> tables (one per protocol, ranked, with intervals and tests) and training curves. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from points24.harness.analysis.comparison import (
    Difference,
    Score,
    Terms,
    difference,
    hands_of,
    interval_of,
    terms_of,
)
from points24.harness.analysis.curve import Curve, curve, is_one_of, is_scored, run_of
from points24.harness.analysis.statistics import holm
from points24.harness.records.record import Record
from points24.tasks.cards import Deal
from points24.tasks.errors import InputError
from points24.tasks.verdict import EXTRACTIONS


@dataclass(frozen=True)
class Row(Score):
    """One record in its table. `parent` and `best` are None where there is nothing to compare with."""

    weighted: float | None
    """Accuracy with each hand weighted by its probability under the paper's sampling."""
    parent: Difference | None
    best: Difference | None


@dataclass(frozen=True)
class Table:
    """Rows of one protocol, best first; equal rows by label, then date."""

    terms: Terms
    rows: tuple[Row, ...]

    @property
    def final_rows(self) -> list[Row]:
        """The rows without the earlier checkpoints of training runs."""
        final: dict[tuple[str, str | None], int] = {}
        for row in self.rows:
            run = run_of(row.record)
            final[run] = max(row.record.step or 0, final.get(run, 0))
        return [row for row in self.rows if (row.record.step or 0) == final[run_of(row.record)]]


def tables(records: Iterable[Record]) -> list[Table]:
    """Every table: measured before reported, OOD first, then by task, filter, number of deals (all before the
    first few) and the rest of the protocol.
    """
    groups: dict[Terms, list[Record]] = defaultdict(list)
    for record in records:
        groups[terms_of(record)].append(record)
    return [_table(terms, groups[terms]) for terms in sorted(groups, key=_order)]


def curves(records: Sequence[Record]) -> tuple[list[Curve], list[str]]:
    """The training runs that are scored on OOD at two steps or more, by name and filter.

    A parent counts as step 0 where it was scored under its run's protocol.

    Returns:
        The curves, and why a run has none whose records do not make one curve (of several protocols, say).
    """
    runs: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in filter(is_scored, records):
        if record.step is not None:
            name, stage = run_of(record)
            runs[name, stage or ""].append(record)
    found, refused = [], []
    for _, own in sorted(runs.items()):
        parents = {record.parent for record in own if record.parent}
        protocols = set(map(terms_of, own))
        starts = [r for r in records if is_one_of(r, parents) and terms_of(r) in protocols]
        for name in EXTRACTIONS:
            if any((r.hand_set, r.filter) == ("ood", name) for r in own):
                try:
                    found.append(curve([*starts, *own], name))
                except InputError as e:
                    refused.append(str(e))
    return [each for each in found if len(each.ood) > 1], refused


def flipped(a: Record, b: Record) -> tuple[list[Deal], list[Deal]]:
    """The deals that a alone wins, and those that b alone wins; empty where that is not known."""
    hands = hands_of(a)
    if hands is None or a.samples or a.outcomes is None or b.outcomes is None:
        return [], []
    pairs = list(zip(hands.deals, a.outcomes, b.outcomes, strict=False))
    return (
        [deal for deal, x, y in pairs if (x, y) == ("1", "0")],
        [deal for deal, x, y in pairs if (x, y) == ("0", "1")],
    )


def _order(terms: Terms) -> tuple[Any, ...]:
    place = list(EXTRACTIONS).index(terms.filter) if terms.filter else 0
    named = tuple(f"{part:>12}" if isinstance(part, int) else str(part or "") for part in terms)
    return (terms.status, terms.rule != "ood", terms.task or "", place, -terms.n, *named)


def _table(terms: Terms, records: Sequence[Record]) -> Table:
    ranked = sorted(records, key=lambda r: (-r.accuracy, r.label, r.date or "", r.key))
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
    return Table(terms, tuple(_adjusted(rows)))


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
    if hands is None or record.correct is None:
        return None
    weights = hands.weights[: record.n]
    won = sum(weight * count for weight, count in zip(weights, record.correct, strict=True))
    return won / record.repeats / sum(weights)
