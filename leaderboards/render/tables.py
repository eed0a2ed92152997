"""Tables -> Markdown, CSV and LaTeX. Text depends on the records alone: no date, locale or time zone."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from tabulate import tabulate

from points24.harness.analysis import formats
from points24.harness.analysis.comparison import sampling_of
from points24.leaderboards.aggregate import Row, Table
from points24.leaderboards.render import wording
from points24.tasks.verdict import Verdict

TABLES = "tables"
"""The subfolder of the CSV and LaTeX files."""
_WRONG = [verdict for verdict in Verdict if verdict is not Verdict.CORRECT]
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|~])")

_MARKUP = re.compile(r"([\\<>\[\]])")


def escape(text: str) -> str:
    """Text that Markdown shows as it is, in a table's cell too."""
    return _MARKDOWN.sub(r"\\\1", text)


def inert(text: str) -> str:
    """Markdown whose emphasis and code stay, but that brings no HTML, link or image."""
    return _MARKUP.sub(r"\\\1", text)


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table of text cells: the first `left` columns aligned left, the others right."""
    alignment = ["left"] * left + ["right"] * (len(headers) - left)
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True, colalign=alignment)


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV: None is empty, floats have six digits, and no text is a spreadsheet's formula."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(map(_csv_cell, row) for row in rows)
    return out.getvalue()


def _csv_cell(cell: object) -> object:
    if isinstance(cell, float):
        return f"{cell:.6g}"
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@")) else cell


def table_csv(table: Table) -> str:
    """Every figure of a table in full precision: a row per record, shares in 0 … 1."""
    rows = [
        [*_columns(table.terms._fields, table), *("model", "stage", "checkpoint", "step", "parent")]
        + ["k", "acc", "low", "high", "acc_weighted", *(v.value for v in _WRONG), "truncated"]
        + [f"{name}_{what}" for name in ("parent", "best") for what in ("diff", "low", "high", "p", "p_holm")]
        + ["standing", "weights_sha256", "date", "source", "record"]
        + [f"{name}{end}" for name in _sampled(table) for end in ("", "_low", "_high")]
    ]
    # Papers have protocols of their own.
    terms = table.terms if table.terms.status == "measured" else table.terms._replace(protocol="")
    for row in table.rows:
        record = row.record
        differences = [
            value
            for d in (row.parent, row.best)
            for value in ([""] * 5 if d is None else [d.share, *d.interval, d.p, d.p_holm])
        ]
        cells = [
            *_columns(terms, table),
            *(record.model, record.stage, record.checkpoint, record.step, record.parent),
            *(record.k, row.share, *row.interval, row.weighted),
            *(record.verdicts and record.verdicts.get(verdict.value, 0) for verdict in _WRONG),
            *(record.truncated, *differences, wording.standing(row)),
            *(record.weights_sha256, record.date, record.source, record.key),
            *(cell for share, interval in sampling_of(record).values() for cell in (share, *interval)),
        ]
        rows.append(cells)
    return csv_text(rows)


def table_latex(table: Table) -> str:
    """A `tabular` with booktabs rules."""
    about = "; ".join(f"{name}: {value}" for name, value in wording.facts(table.terms))
    headers = ["checkpoint", "k/n", "accuracy %", "95 %", "vs parent", "p (Holm)", "vs best", "p (Holm)"]
    body = tabulate(
        [[*_score(row), *wording.against(row.parent), *wording.against(row.best)] for row in table.rows],
        headers,
        tablefmt="latex_booktabs",
        disable_numparse=True,
        colalign=["left"] + ["right"] * (len(headers) - 1),
    )
    body = body.replace(formats.MINUS, "$-$").replace("–", "--")
    return f"% {wording.title(table.terms)}. {about}\n{body}\n"


def markdown_section(table: Table) -> str:
    """The final checkpoints of a table in five columns, and links to the whole of it."""
    rows = table.final_rows
    what, cells = _fifth(rows)
    body = markdown_table(
        ["checkpoint", "k/n", "accuracy %", "95 % interval", what],
        [[escape(cell) for cell in (*_score(row), fifth)] for row, fifth in zip(rows, cells, strict=True)],
    )
    facts = wording.facts(table.terms)
    about = "; ".join(f"{name}: {value}" for name, value in facts if not name.endswith("digest"))
    links = " and ".join(f"[{kind}]({TABLES}/{table.terms.slug}.{kind.lower()})" for kind in ("CSV", "TeX"))
    every = f"All {len(table.rows)} checkpoints, with every comparison" if len(table.rows) > 1 else "In full"
    return f"### {inert(wording.title(table.terms))}\n\n{inert(about)}.\n\n{body}\n\n{every}: {links}."


def _columns(values: Sequence[Any], table: Table) -> Sequence[Any]:
    """The values of a table's terms; the number of samples only where there are several."""
    return values if table.terms.repeats > 1 else values[:-1]


def _sampled(table: Table) -> list[str]:
    return list(sampling_of(table.rows[0].record))


def _score(row: Row) -> list[str]:
    """Name, k/n, accuracy in percent and its interval."""
    record = row.record
    return [
        record.label,
        formats.won(record),
        formats.percent(row.share),
        formats.interval(row.interval),
    ]


def _fifth(rows: Sequence[Row]) -> tuple[str, list[str]]:
    """The header and the cells of what says most beside accuracy.

    Where figures are reported, their source; where replies follow another rule, the share of those; else the
    difference from the best row.
    """
    if (n := rows[0].record.repeats) > 1:
        return f"pass@{n} / maj@{n} %", [wording.of_all_samples(row.record) for row in rows]
    if any(row.record.source for row in rows):
        return "source", [row.record.source or "" for row in rows]
    shares = [row.record.verdict_share(Verdict.WRONG_RULE) for row in rows]
    if any(shares):
        return "wrong\\_rule %", [formats.percent(share) for share in shares]
    return "vs best, points", [wording.against(row.best)[0] for row in rows]
