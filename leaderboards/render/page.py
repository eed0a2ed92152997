"""Tables -> one self-contained page. This module gives its contents, `page_parts/` its looks."""

from __future__ import annotations

import math
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
    Column("pass@n / maj@n %", "of all n samples of a deal"),
    Column("vs parent", "difference in points with its 95 % interval"),
    Column("p (Holm)", "against the parent; in brackets adjusted over the table"),
    Column("vs best", "difference in points with its 95 % interval"),
    Column("p (Holm)", "against the best; in brackets adjusted over the table"),
)

_SCORES = 4
"""So many of them are scores; the tests come after the drawn columns."""


_LONGEST = 20
"""Characters of a name beside a mark."""
Box = tuple[float, float, float, float]


class Frame(NamedTuple):
    """The scatter's square in SVG units: ID from 0 to 1, OOD from 0 to `highest`."""

    size: float = 340
    left: float = 48
    top: float = 12
    right: float = 328
    bottom: float = 292
    highest: float = 1

    def x(self, share: float) -> float:
        return round(self.left + share * (self.right - self.left), 1)

    def y(self, share: float) -> float:
        return round(self.bottom - share / self.highest * (self.bottom - self.top), 1)


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
    columns = [Column("checkpoint", number=False), *(_COLUMNS[i] for i in keep if i < _SCORES)]
    columns.append(Column("interval", "from 0 to 100 %; sorts by accuracy", number=False))
    if has_verdicts:
        columns.append(Column("verdicts", "sorts by the share of wrong_rule", number=False))
    columns += [_COLUMNS[i] for i in keep if i >= _SCORES]
    parts = [i for i in keep if i < _SCORES], [i for i in keep if i >= _SCORES]
    return {
        "title": wording.title(table.terms),
        "status": table.terms.status,
        "facts": wording.facts(table.terms),
        "columns": columns,
        "has_verdicts": has_verdicts,
        "rows": [
            _row(row, [[(_COLUMNS[i], *texts[i]) for i in part] for part in parts], len(table.rows))
            for row, texts in zip(table.rows, cells, strict=True)
        ],
    }


def _cells(row: Row) -> list[tuple[str, float | str]]:
    """Text and sort key per column of `_COLUMNS`."""
    record, samples = row.record, wording.of_all_samples(row.record)
    return [
        (formats.won(record), record.wins),
        (formats.percent(row.share), row.share),
        (formats.interval(row.interval), row.interval.low),
        (samples, float(samples.split()[0]) if samples else ""),
        *_against(row.parent),
        *_against(row.best),
    ]


def _against(found: Difference | None) -> list[tuple[str, float | str]]:
    if found is None:
        return [("", ""), ("", "")]
    shown, p = wording.against(found)
    return [(shown, found.share), (p, found.p)]


def _row(row: Row, parts: list[list[tuple[Column, str, float | str]]], rows: int) -> dict[str, Any]:
    """A row, with its cells before the drawn ones and those after them."""
    record, (low, high) = row.record, row.interval
    shares = {verdict: record.verdict_share(verdict) or 0.0 for verdict in Verdict}
    return {
        "label": record.label,
        "search": " ".join(filter(None, (record.label, record.source, record.task))).lower(),
        "standing": wording.standing(row) if rows > 1 else "",
        "cells": [
            [{"name": column.name, "text": text, "sort": _key(sort)} for column, text, sort in part]
            for part in parts
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


def _key(sort: float | str) -> float | str:
    """Without the last digits, in which versions of numpy and scipy differ."""
    return f"{sort:.10g}" if isinstance(sort, float) else sort


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
            frame = Frame(
                highest=min(1.0, 0.2 * math.ceil(max(ood.interval.high for _, ood in points) / 0.2))
            )
            name = terms.filter or f"reported, {wording.attempts(terms.attempts)}"
            yield frame._asdict() | {
                "title": f"{name} ({'every solvable hand' if kind == 'full' else 'the 234 paper deals'})",
                "points": _marks(frame, points),
                "even": frame.x(frame.highest),
                "x_ticks": [(frame.x(t / 5), 20 * t) for t in range(6)],
                "y_ticks": [(frame.y(y), round(100 * y)) for y in (frame.highest * t / 5 for t in range(6))],
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
    """Where each point, the arms of its intervals and its name go; the full name stands in the tooltip."""
    spots = [(frame.x(of_id.share), frame.y(of_ood.share)) for of_id, of_ood in points]
    names = place_names(spots, [_short(of_id.record) for of_id, _ in points], frame)
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
            "name": name,
        }
        for (of_id, of_ood), name in zip(points, names, strict=True)
    ]


def _short(record: Record) -> str:
    """``SFT 50`` of a training step, else the model's name."""
    name = record.model if record.step is None else f"{record.stage or record.model} {record.step}"
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def place_names(
    spots: Sequence[tuple[float, float]], names: Sequence[str], frame: Frame
) -> list[dict[str, Any] | None]:
    """Where the names of marks go, in SVG units: beside, above or below; None where there is no room.

    The highest marks choose first.
    """
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in spots]
    found: list[dict[str, Any] | None] = [None] * len(spots)
    for i in sorted(range(len(spots)), key=lambda i: (spots[i][1], -spots[i][0])):
        (x, y), width = spots[i], 5.2 * len(names[i])
        for left, base, anchor, at in (
            (x + 7, y + 3, "start", x + 7),
            (x - 7 - width, y + 3, "end", x - 7),
            (x - width / 2, y - 8, "middle", x),
            (x - width / 2, y + 14, "middle", x),
        ):
            box = (left, base - 8, left + width, base + 2)
            inside = frame.left <= box[0] and box[2] <= frame.size and frame.top <= box[1]
            if inside and box[3] <= frame.bottom and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                found[i] = {"text": names[i], "x": round(at, 1), "y": round(base, 1), "anchor": anchor}
                break
    return found


def _overlap(a: Box, b: Box) -> bool:
    """Whether two boxes (left, top, right, bottom) meet."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _words(share: float, interval: Interval) -> str:
    return f"{formats.percent(share)} % [{formats.interval(interval)}]"
