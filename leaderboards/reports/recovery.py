"""Recoveries -> a report: Markdown tables and sentences, with the figures beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from points24.harness.analysis.recovery import Recovery, missing_references, recoveries
from points24.harness.analysis.summaries import recovery_sentence, recovery_table, recovery_title
from points24.harness.files import write_text
from points24.harness.records.record import Record
from points24.leaderboards.render import wording
from points24.leaderboards.render.tables import escape
from points24.tasks.errors import InputError

REPORT = "recovery.md"
_ABOUT = (
    "OOD and ID: won/played, percent and 95 % interval (Wilson's).",
    "Gains over the target are in percentage points, on the same deals: exact McNemar with Tango's interval; "
    "in brackets p after Holm over all gains of a table.",
    "recovered: the share of what the target lost on OOD that a repair brings back, (repaired − target) / "
    "(source − target), with Fieller's 95 % interval; unbounded where these deals hardly tell the target "
    "from the source. The best repair is picked by the same deals, which flatters it.",
    "front: x where nothing in the table is as good on both ID and OOD and better on one.",
)


def found_in(records: Sequence[Record]) -> list[Recovery]:
    """The recoveries among records; at least one.

    Raises:
        InputError: there is none, and why.
    """
    if found := recoveries(records):
        return found
    missing = missing_references(records)
    raise InputError(
        f"no recovery: no record of {', '.join(missing)} with the protocol and decoding of what was repaired"
        if missing
        else "no recovery: no OOD record of a checkpoint that points24 recover made"
    )


def markdown(found: Sequence[Recovery], figures: Sequence[Sequence[str]] = ()) -> str:
    """The report: for each recovery a sentence, a table and what its rows share.

    Args:
        found: what to report on.
        figures: for each, paths of figures to show, relative to the report; none shows none.
    """
    parts = ["# Recovery", "\n".join(f"- {line}" for line in _ABOUT)]
    for number, each in enumerate(found):
        paths = figures[number] if figures else ()
        parts += _section(each)
        parts += [f"![{escape(recovery_title(each))}]({path})" for path in paths]
    return "\n\n".join(parts) + "\n"


def write_recovery_report(records: Sequence[Record], folder: Path) -> list[Path]:
    """Write ``recovery.md`` and its figures, and return their paths, the report first.

    Without matplotlib (the extra `plots`) there are no figures, and the report says so.

    Raises:
        InputError: the records hold no recovery, or a file cannot be written.
    """
    found = found_in(records)
    figures: list[list[Path]] = []
    note = ""
    try:
        from points24.leaderboards.reports.recovery_plots import write_recoveries

        figures = write_recoveries(found, folder)
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] != "matplotlib":
            raise
        note = "\nFigures need matplotlib: pip install 'points24[plots]', then points24 plot recovery.\n"
    report = folder / REPORT
    text = markdown(found, [[path.name for path in paths] for paths in figures]) + note
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(report, text)
    except OSError as e:
        raise InputError(f"{report}: {e.strerror or e}") from e
    return [report, *(path for paths in figures for path in paths)]


def _section(found: Recovery) -> list[str]:
    rows = [{key: escape(cell) for key, cell in row.items()} for row in recovery_table(found)]
    keep = [key for key in rows[0] if any(row.get(key) for row in rows)]
    about = "; ".join(f"{name}: {value}" for name, value in wording.facts(found.protocol))
    decoding = ", ".join(f"{key}={value}" for key, value in json.loads(found.decoding).items())
    return [
        f"## {escape(recovery_title(found))}",
        escape(recovery_sentence(found)),
        tabulate(
            [[row.get(key, "") for key in keep] for row in rows],
            keep,
            tablefmt="github",
            disable_numparse=True,
            colalign=["left" if key == "checkpoint" else "right" for key in keep],
        ),
        f"OOD: {about}; decoding: {escape(decoding)}.",
    ]
