"""How shares, differences and p-values read, the same in every output."""

from __future__ import annotations

import textwrap

from points24.harness.analysis.statistics import Interval
from points24.harness.records.record import Record

MINUS, DASH = "−", "–"
WIDTH = 100
"""Columns of a terminal that an output fits."""


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def interval(found: Interval) -> str:
    return f"{percent(found.low)} {DASH} {percent(found.high)}"


def won(record: Record) -> str:
    """How many deals a record won, or of how many samples its accuracy is."""
    return f"{record.k}/{record.n}" if record.repeats == 1 else f"{record.n} × {record.repeats} samples"


def points(share: float) -> str:
    """A difference in percentage points, with its sign."""
    text = f"{100 * share:+.1f}".replace("-", MINUS)
    return "0.0" if text in ("+0.0", f"{MINUS}0.0") else text


def p_value(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def p_clause(p: float) -> str:
    """The same within a sentence: ``p = 0.03``."""
    shown = p_value(p)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def size(count: int | None) -> str:
    """A number of bytes; None is one that is not known."""
    if count is None:
        return "not known"
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"


def wrapped(text: str) -> str:
    """A paragraph in lines that fit a terminal."""
    return textwrap.fill(text, WIDTH)
