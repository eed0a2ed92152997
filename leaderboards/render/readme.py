"""Everything that was built -> README.md, the way into it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from points24.leaderboards.aggregate import Table
from points24.leaderboards.paper import PaperTable
from points24.leaderboards.render import paper, wording
from points24.leaderboards.render.tables import TABLES, escape, markdown_section


class Link(NamedTuple):
    """A file of the same folder and what it shows."""

    path: str
    about: str


def readme(
    tables: Sequence[Table],
    reports: Iterable[Link],
    curves: Iterable[Link],
    of_paper: Sequence[PaperTable] = (),
    findings: str = "",
) -> str:
    """The final checkpoints of every table, and links to the whole tables, the reports and the curves.

    `findings` is the table of the reproductions' verdicts, if there are any.
    """
    links = [f"- [{escape(about)}]({path})" for path, about in reports]
    if tables:
        links.insert(
            0,
            "- [The page](index.html): the whole tables, to sort and filter, with a plot of ID against OOD "
            f"and the provenance of every row; [`{TABLES}/`]({TABLES}) has them as CSV and LaTeX",
        )
    if shown := ", ".join(f"[{escape(about)}]({path})" for path, about in curves):
        links.append(f"- Training curves: {shown}")
    parts = [
        "# Leaderboard",
        "`points24 leaderboard build` makes this folder from the records beside it; do not edit it.",
        "\n".join(links),
    ]
    if findings:
        parts += [
            "## The paper's findings, model by model",
            "The paper's models have 7 to 11 billion parameters. Verdicts follow rules that were fixed "
            "before the runs; the figure is the one that decides, with its 95 % interval over the seeds, "
            "or of one seed over the deals.",
            findings,
        ]
    if tables:
        parts.append(
            "The tables below show final checkpoints, best first; *vs best* is the difference from the best "
            "row of the whole table. " + " ".join((wording.ONE_PROTOCOL, wording.INTERVALS))
        )
    if of_paper:
        parts.append(paper.markdown_section(of_paper))
    for status, heading in (("measured", "Measured"), ("reported", "Reported")):
        group = [table for table in tables if table.terms.status == status]
        if group:
            parts += [f"## {heading}", *map(markdown_section, group)]
    return "\n\n".join(parts) + "\n"
