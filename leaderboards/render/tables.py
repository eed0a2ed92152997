"""Tables -> Markdown, CSV and LaTeX. Text depends on the records alone: no date, locale or time zone."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from tabulate import tabulate

from points24.harness.analysis import formats
from points24.leaderboards.aggregate import Row, Table
from points24.leaderboards.render import wording
from points24.tasks.verdict import Verdict

_WRONG = [verdict for verdict in Verdict if verdict is not Verdict.CORRECT]
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|~])")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "–": "--",
    "<": "$<$",
    ">": "$>$",
} | {sign: "\\" + sign for sign in "&%$#_{}"}


def markdown(tables: Sequence[Table], recovery: str | None = None, reproduction: str | None = None) -> str:
    """The README of the leaderboards.

    Args:
        tables: what it shows.
        recovery: path of the report on repaired checkpoints, if there is one.
        reproduction: path of the report on the paper's experiment, if there is one.
    """
    parts = [
        "# Leaderboards",
        "Generated from [`records/`](records) by `points24 leaderboard build`; edit the records, not this. "
        "[`index.html`](index.html) is the same as one page to sort and filter, with a plot of ID against "
        "OOD and the provenance of every row; [`tables/`](tables) has CSV and LaTeX."
        + (f" [`{recovery}`]({recovery}) says what repairs bring back." if recovery else "")
        + (f" [`{reproduction}`]({reproduction}) is the paper's experiment again." if reproduction else ""),
        "\n".join(f"- {note}" for note in wording.notes()),
    ]
    for status, heading in (("measured", "Measured"), ("reported", "Reported")):
        group = [table for table in tables if table.protocol.status == status]
        if group:
            parts.append(f"## {heading}")
            parts += [_markdown_section(table) for table in group]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, in a table's cell too."""
    return _MARKDOWN.sub(r"\\\1", text)


def table_csv(table: Table) -> str:
    """Every figure of a table in full precision: a row per record, shares in 0 … 1."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [*table.protocol._fields, *("model", "stage", "checkpoint", "step", "parent")]
        + ["k", "acc", "low", "high", "acc_weighted", *(v.value for v in _WRONG), "truncated"]
        + [f"{name}_{what}" for name in ("parent", "best") for what in ("diff", "low", "high", "p", "p_holm")]
        + ["standing", "weights_sha256", "date", "source", "record"]
    )
    for row in table.rows:
        record = row.record
        differences = [
            value
            for d in (row.parent, row.best)
            for value in ([""] * 5 if d is None else [d.share, *d.interval, d.p, d.p_holm])
        ]
        cells = [
            *table.protocol,
            *(record.model, record.stage, record.checkpoint, record.step, record.parent),
            *(record.k, row.share, *row.interval, row.weighted),
            *(record.verdicts and record.verdicts.get(verdict.value, 0) for verdict in _WRONG),
            *(record.truncated, *differences, wording.standing(row)),
            *(record.weights_sha256, record.date, record.source, record.key),
        ]
        writer.writerow(
            "" if cell is None else f"{cell:.6g}" if isinstance(cell, float) else cell for cell in cells
        )
    return out.getvalue()


def table_latex(table: Table) -> str:
    """A `tabular` with booktabs rules."""
    about = "; ".join(f"{name}: {value}" for name, value in wording.facts(table.protocol))
    headers = [
        "checkpoint",
        "$k/n$",
        r"acc (\%)",
        r"95\,\%",
        "vs parent",
        "$p$ (Holm)",
        "vs best",
        "$p$ (Holm)",
    ]
    lines = [
        f"% {wording.title(table.protocol)}. {about}",
        r"\begin{tabular}{lrrrrrrr}",
        r"\toprule",
        " & ".join(headers) + r" \\",
        r"\midrule",
        *(" & ".join(map(_latex, _cells(row))) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> list[str]:
    record = row.record
    return [
        record.label,
        f"{record.k}/{record.n}",
        formats.percent(row.share),
        formats.interval(row.interval),
        *wording.against(row.parent),
        *wording.against(row.best),
    ]


def _markdown_section(table: Table) -> str:
    measured = table.protocol.status == "measured"
    headers = [
        "checkpoint",
        "won",
        "acc %",
        "95 %",
        "vs parent",
        "p (Holm)",
        "vs best",
        "p (Holm)",
        "standing",
    ]
    headers += ["weighted %", *(verdict.value for verdict in _WRONG)] if measured else ["source"]
    rows = []
    for row in table.rows:
        rest = [formats.percent(row.weighted)]
        rest += [formats.percent(row.record.verdict_share(verdict)) for verdict in _WRONG]
        cells = [*_cells(row), wording.standing(row), *(rest if measured else [row.record.source or ""])]
        rows.append([escape(cell) for cell in cells])
    keep = [i for i in range(len(headers)) if any(cells[i] for cells in rows)]
    body = tabulate(
        [[cells[i] for i in keep] for cells in rows],
        [headers[i] for i in keep],
        tablefmt="github",
        disable_numparse=True,
        colalign=["left" if headers[i] in ("checkpoint", "standing", "source") else "right" for i in keep],
    )
    about = "; ".join(f"{name}: {value}" for name, value in wording.facts(table.protocol))
    return f"### {wording.title(table.protocol)}\n\n{about}.\n\n{body}"


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)
