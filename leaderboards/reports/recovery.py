"""Recoveries -> a report: for each a sentence, its figures and a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from points24.harness.analysis.recovery import Recovery
from points24.harness.analysis.recovery_summaries import recovery_sentence, recovery_table, recovery_title
from points24.leaderboards.figures import FIGURES, recovery_figures, write_figures
from points24.leaderboards.output import writing
from points24.leaderboards.render import wording
from points24.leaderboards.render.tables import escape, markdown_table

REPORT = "recovery.md"
_ABOUT = (
    "OOD and ID: correct/played, accuracy in percent and its 95 % interval (Wilson's).",
    "Gains over the target are in percentage points, on the same deals, with Tango's 95 % interval; p is of "
    "the exact McNemar test, and in brackets after Holm over all gains of a table.",
    "recovered: the share of the OOD accuracy that the target lost which is back, (recovered checkpoint − "
    "target) / (source − target). retained: the share of the ID accuracy that the target gained which is "
    "kept, (recovered checkpoint − source) / (target − source). Both have Fieller's 95 % interval, which is "
    "unbounded where these deals hardly tell target and source apart.",
    "harmonic mean: of recovered and retained, each clipped to 0 … 100 % before; its 95 % interval is a "
    "bootstrap over the hands. Source and target have a harmonic mean of 0: neither of them is a recovery. "
    "The table is sorted by it; where recipes are many, those of one kind stand together.",
    "The sentence names the best recipe by that mean. Each half of the deals (at even, at odd places) "
    "measures the recipe that is best on the other half: one that is only lucky gains nothing by it.",
    "front: x where no other row is as good on both ID and OOD and better on one.",
)


def markdown(found: Sequence[Recovery]) -> str:
    """The report. It shows the figures, in `FIGURES` beside it, whether or not they are drawn yet."""
    parts = ["# Recovery", "\n".join(f"- {line}" for line in _ABOUT)]
    for each, figures in zip(found, recovery_figures(found), strict=True):
        parts += _section(each, list(figures))
    return "\n\n".join(parts) + "\n"


def _section(found: Recovery, figures: Sequence[str]) -> list[str]:
    rows = [{key: escape(cell) for key, cell in row.items()} for row in recovery_table(found)]
    keep = [key for key in rows[0] if any(row.get(key) for row in rows)]
    about = "; ".join(f"{name}: {value}" for name, value in wording.facts(found.terms))
    decoding = ", ".join(f"{key}={value}" for key, value in json.loads(found.decoding).items())
    return [
        f"## {escape(recovery_title(found))}",
        escape(recovery_sentence(found)),
        markdown_table(keep, [[row.get(key, "") for key in keep] for row in rows]),
        f"OOD: {about}; decoding: {escape(decoding)}.",
        *(f"![{escape(recovery_title(found))}]({FIGURES}/{name})" for name in figures),
    ]


def write_recovery_report(found: Sequence[Recovery], folder: Path) -> list[Path]:
    """Write ``recovery.md`` and its figures, and return their paths, the report first.

    Raises:
        InputError: matplotlib is not installed, or a file cannot be written.
    """
    drawings = {folder / FIGURES / name: p for each in recovery_figures(found) for name, p in each.items()}
    paths = write_figures(drawings)  # raises, where it must, before anything is written
    report = folder / REPORT
    with writing(report) as partial:
        partial.write_text(markdown(found), "utf-8", newline="\n")
    return [report, *paths]
