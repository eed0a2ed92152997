"""Tables -> one self-contained page. This module gives its contents, `page_parts/` its looks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from points24.harness.analysis import formats
from points24.harness.analysis.comparison import Difference, Terms
from points24.harness.analysis.statistics import Interval
from points24.harness.records.record import Record
from points24.leaderboards.aggregate import Row, Table
from points24.leaderboards.paper import PaperTable
from points24.leaderboards.render import paper, wording
from points24.tasks.verdict import Verdict

_PAGE = Path(__file__).resolve().parent / "page_parts"
_LEGEND = {
    Verdict.CORRECT: "uses each card once and equals 24",
    Verdict.WRONG_RULE: "would be right under another rule: a memorised rule",
    Verdict.WRONG_VALUE: "right numbers, but not 24",
    Verdict.WRONG_NUMBERS: "a card missing, added, used twice or misread",
    Verdict.ILLEGAL: "not a formula",
    Verdict.NO_ANSWER: "no formula found",
}


class Column(NamedTuple):
    name: str
    about: str = ""
    number: bool = True


_COLUMNS = (
    Column("k/n", "deals won of deals played"),
    Column("accuracy %"),
    Column("95 %", "Wilson's interval"),
    Column("vs parent", "difference in points with its 95 % interval"),
    Column("p (Holm)", "against the parent; in brackets adjusted over the table"),
    Column("vs best", "difference in points with its 95 % interval"),
    Column("p (Holm)", "against the best; in brackets adjusted over the table"),
)


class Frame(NamedTuple):
    """The scatter's square in SVG units; both axes run from 0 to 1."""

    size: float = 340
    left: float = 48
    top: float = 12
    right: float = 328
    bottom: float = 292

    def x(self, share: float) -> float:
        return round(self.left + share * (self.right - self.left), 1)

    def y(self, share: float) -> float:
        return round(self.bottom - share * (self.bottom - self.top), 1)


def page(tables: Sequence[Table], of_paper: Sequence[PaperTable] = ()) -> str:
    """The whole page."""
    environment = Environment(
        loader=FileSystemLoader(_PAGE),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
    )
    view = {
        "panels": list(_panels(tables)),
        "paper": {"heading": paper.HEADING, "facts": paper.FACTS, "tables": list(map(paper.view, of_paper))},
        "tables": [_table(table) for table in tables],
        "legend": [(verdict.value, about) for verdict, about in _LEGEND.items()],
        "notes": wording.notes(),
    }
    return environment.get_template("index.html.jinja").render(view) + "\n"


def _table(table: Table) -> dict[str, Any]:
    cells = [_cells(row) for row in table.rows]
    keep = [i for i in range(len(_COLUMNS)) if any(texts[i][0] for texts in cells)]
    has_verdicts = any(row.record.verdicts for row in table.rows)
    columns = [Column("checkpoint", number=False), *(_COLUMNS[i] for i in keep)]
    columns.append(Column("interval", "from 0 to 100 %; sorts by accuracy", number=False))
    if has_verdicts:
        columns.append(Column("verdicts", "sorts by the share of wrong_rule", number=False))
    return {
        "title": wording.title(table.terms),
        "status": table.terms.status,
        "facts": wording.facts(table.terms),
        "columns": columns,
        "has_verdicts": has_verdicts,
        "rows": [
            _row(row, [(_COLUMNS[i], *texts[i]) for i in keep], len(table.rows))
            for row, texts in zip(table.rows, cells, strict=True)
        ],
    }


def _cells(row: Row) -> list[tuple[str, float | str]]:
    """Text and sort key per column of `_COLUMNS`."""
    record = row.record
    return [
        (f"{record.k}/{record.n}", record.k),
        (formats.percent(row.share), row.share),
        (formats.interval(row.interval), row.interval.low),
        *_against(row.parent),
        *_against(row.best),
    ]


def _against(found: Difference | None) -> list[tuple[str, float | str]]:
    if found is None:
        return [("", ""), ("", "")]
    shown, p = wording.against(found)
    return [(shown, found.share), (p, found.p)]


def _row(row: Row, cells: list[tuple[Column, str, float | str]], rows: int) -> dict[str, Any]:
    record, (low, high) = row.record, row.interval
    shares = {verdict: record.verdict_share(verdict) or 0.0 for verdict in Verdict}
    return {
        "label": record.label,
        "search": " ".join(filter(None, (record.label, record.source, record.task))).lower(),
        "standing": wording.standing(row) if rows > 1 else "",
        "cells": [
            {"name": column.name, "number": column.number, "text": text, "sort": sort}
            for column, text, sort in cells
        ],
        "share": _css(row.share),
        "low": _css(low),
        "width": _css(high - low),
        "wrong_rule": shares[Verdict.WRONG_RULE] if record.verdicts else "",
        "mix": ", ".join(f"{verdict.value} {formats.percent(share)} %" for verdict, share in shares.items()),
        "parts": [
            {"name": verdict.value, "percent": _css(share)} for verdict, share in shares.items() if share
        ],
        "provenance": wording.provenance(row.record),
    }


def _css(share: float) -> str:
    return f"{100 * share:.2f}"


# -- the scatter -----------------------------------------------------------------------------------------


_OF_ONE_SIDE: dict[str, Any] = {"task": None, "hand_set": "", "rule": "", "hand_set_digest": None, "n": 0}
"""What replaces the parts of a protocol in which ID and OOD may differ."""


def _panels(tables: Sequence[Table]) -> Iterator[dict[str, Any]]:
    """One panel per pair of protocols that differ in ID against OOD alone."""
    sides: dict[tuple[str, Terms], dict[str, Table]] = defaultdict(dict)
    for table in tables:
        if side := _side(table.terms):
            kind, rule = side
            sides[kind, table.terms._replace(**_OF_ONE_SIDE)][rule] = table
    for (kind, terms), pair in sides.items():
        if len(pair) == 2 and (points := list(_points(pair["id"], pair["ood"]))):
            frame = Frame()
            name = terms.filter or f"reported, {wording.attempts(terms.attempts)}"
            yield frame._asdict() | {
                "title": f"{name} ({'every solvable hand' if kind == 'full' else 'the 234 paper deals'})",
                "points": _marks(frame, points),
                "ticks": [
                    {"x": frame.x(t / 100), "y": frame.y(t / 100), "label": t} for t in range(0, 101, 20)
                ],
            }


def _side(terms: Terms) -> tuple[str, str] | None:
    """Whether the deals are the ``full`` set or the ``paper`` ones, and the rule, ``id`` or ``ood``."""
    for kind, suffix in (("full", ""), ("paper", "_paper")):
        if terms.rule in ("id", "ood") and terms.hand_set == terms.rule + suffix:
            return kind, terms.rule
    return None


def _points(of_id: Table, of_ood: Table) -> Iterator[tuple[Row, Row]]:
    """The rows of one checkpoint in both tables; of several runs the first listed."""

    def checkpoint(record: Record) -> tuple[str | None, ...]:
        return record.label, record.source, record.weights_sha256

    others: dict[tuple[str | None, ...], Row] = {}
    for row in of_ood.rows:
        others.setdefault(checkpoint(row.record), row)
    for row in of_id.rows:
        if other := others.pop(checkpoint(row.record), None):
            yield row, other


def _marks(frame: Frame, points: Sequence[tuple[Row, Row]]) -> list[dict[str, Any]]:
    """Where each point and the arms of its intervals go; its name stands in the tooltip."""
    return [
        {
            "label": of_id.record.label,
            "about": f"{of_id.record.label}: ID {_words(of_id.share, of_id.interval)}, "
            f"OOD {_words(of_ood.share, of_ood.interval)}",
            "x": frame.x(of_id.share),
            "y": frame.y(of_ood.share),
            "x_low": frame.x(of_id.interval.low),
            "x_high": frame.x(of_id.interval.high),
            "y_low": frame.y(of_ood.interval.low),
            "y_high": frame.y(of_ood.interval.high),
        }
        for of_id, of_ood in points
    ]


def _words(share: float, interval: Interval) -> str:
    return f"{formats.percent(share)} % [{formats.interval(interval)}]"
