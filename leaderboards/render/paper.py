"""The paper's protocol, reported beside measured -> Markdown, CSV, LaTeX and what the page shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from points24.harness.analysis import formats
from points24.harness.records.record import Record
from points24.leaderboards.paper import READINGS, Count, PaperRow, PaperTable, Reading
from points24.leaderboards.render import wording
from points24.leaderboards.render.tables import TABLES, csv_text, escape, markdown_table
from points24.tasks.verdict import PAPER

HEADING = "The paper's protocol: reported and measured"
FACTS = (
    "The paper's 234 deals of each rule in its order, up to five attempts with the verifier's message "
    "between them, replies of at most 256 tokens, decoded by the model's own generation settings unless a "
    "row's provenance says otherwise. Comparable with the reported figures: the column *float, 5 attempts*.",
    "What differs: reported rows were asked in the paper's own words; measured ones in ours of the same "
    "structure (*paper*), or in the paper's as imported from the reader's copy (*paper-imported*), each with "
    "the protocol's digest. Reported rows have no outcomes per deal: no other column can be filled, no test "
    "can be paired, and their intervals are Wilson's for 234 independent deals. Those of measured rows allow "
    "for hands that come twice.",
    "The 2x2 of checkers and attempts reads the same dialogues four ways. *float* compares as the reference "
    "does, and rejects right answers such as 8/(3-8/3); *exact* compares fractions. The last two columns "
    "read the replies by other filters, five attempts, exact: `paper-match` takes what the reference takes "
    "(double quotes, no blanks in the formula), `strict-match` one JSON object alone.",
)
"""What a reader has to know, in this order."""


def slug(table: PaperTable) -> str:
    return f"paper_protocol-{table.rule}"


def title(table: PaperTable) -> str:
    return f"The paper's protocol, {table.rule.upper()} rule"


def name(reading: Reading) -> str:
    """A column's name."""
    if reading.filter != PAPER:
        return reading.filter
    return f"{reading.checker}, {'5 attempts' if reading.attempts == 'all' else '1 attempt'}"


def asked(record: Record) -> str:
    """In whose words a row was asked."""
    if record.status == "reported":
        return "the paper's"
    return f"{record.protocol} ({(record.protocol_digest or '')[:12]})"


def markdown_section(tables: Sequence[PaperTable]) -> str:
    """The tables of both rules, with what differs between reported and measured rows."""
    parts = [f"## {HEADING}", "\n".join(f"- {fact}" for fact in FACTS)]
    for table in tables:
        files = f"[CSV]({TABLES}/{slug(table)}.csv) and [TeX]({TABLES}/{slug(table)}.tex)"
        rows = [[escape(cell) for cell in cells] for cells in _cells(table)]
        body = markdown_table(_headers(), rows, left=3)
        parts += [f"### {title(table)}", body, f"In full precision, with k and n: {files}."]
    return "\n\n".join(parts)


def table_latex(table: PaperTable) -> str:
    """A `tabular` with booktabs rules."""
    rows = [[cell.replace("–", "--") for cell in cells] for cells in _cells(table)]
    body = tabulate(rows, _headers(), tablefmt="latex_booktabs", disable_numparse=True)
    return f"% {HEADING}; {title(table)}. Accuracy in %, with 95 % intervals\n{body}\n"


def table_csv(table: PaperTable) -> str:
    """A line for each row and reading, in full precision; shares in 0 … 1."""
    about = ("status", "source", "model", "stage", "checkpoint", "step", "protocol", "protocol_digest")
    counted = ("filter", "checker", "attempts", "k", "n", "acc", "low", "high")
    rows: list[list[object]] = [["rule", *about, *counted, "weights_sha256", "record"]]
    for row in table.rows:
        record = row.record
        told = [getattr(record, field) for field in about[:-2]]
        told += [record.protocol, record.protocol_digest] if record.status == "measured" else [None, None]
        for reading, (k, n, interval) in row.counts.items():
            attempts = record.attempts if reading.attempts == "all" else 1
            cells = [table.rule, *told, reading.filter, reading.checker, attempts, k, n, k / n, *interval]
            rows.append([*cells, record.weights_sha256, record.key])
    return csv_text(rows)


def view(table: PaperTable) -> dict[str, Any]:
    """What the page's template needs."""
    return {
        "title": title(table),
        "columns": [name(reading) for reading in READINGS],
        "rows": [
            {
                "label": row.record.label,
                "status": row.record.status,
                "search": " ".join(filter(None, (row.record.label, row.record.source, "paper"))).lower(),
                "asked": asked(row.record),
                "cells": [_page_cell(row.counts.get(reading)) for reading in READINGS],
                "provenance": wording.provenance(row.record),
            }
            for row in table.rows
        ],
    }


def _headers() -> list[str]:
    return ["checkpoint", "status", "asked in", *map(name, READINGS)]


def _cells(table: PaperTable) -> list[list[str]]:
    return [[*_about(row), *(_shown(row.counts.get(reading)) for reading in READINGS)] for row in table.rows]


def _about(row: PaperRow) -> list[str]:
    record = row.record
    status = f"reported, {record.source}" if record.source else record.status
    return [record.label, status, asked(record)]


def _shown(count: Count | None) -> str:
    if count is None:
        return ""
    return f"{formats.percent(count.k / count.n)} [{formats.interval(count.interval)}]"


def _page_cell(count: Count | None) -> dict[str, Any]:
    about = "" if count is None else f"{count.k} of {count.n}"
    return {"text": _shown(count), "sort": "" if count is None else count.k / count.n, "about": about}
