"""What a benchmark promises: one row a ratio, measured against a named alternative in the same run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tabulate import tabulate

HEADERS = ("what", "ours", "against", "theirs", "unit", "times faster", "grows with", "exponent")


class Row(NamedTuple):
    what: str
    ours: float
    against: str
    theirs: float
    unit: str
    growth: str = ""
    """What `ours` was measured over, for the exponent."""
    exponent: float | None = None

    @property
    def ratio(self) -> float:
        """How many times as fast ours is."""
        return self.theirs / self.ours


def exponent(sizes: Sequence[float], work: Callable[[int], float]) -> float:
    """The slope of log(cost) over log(size), by least squares; `work` gives the cost of a size."""
    points = [(math.log(size), math.log(work(int(size)))) for size in sizes]
    x, y = (sum(column) / len(points) for column in zip(*points, strict=True))
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


def memory(key: str) -> int:
    """Bytes of this process under Linux: VmRSS now, VmHWM at the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))


def table(rows: Iterable[Row]) -> str:
    cells = [
        [
            row.what,
            f"{row.ours:.3g}",
            row.against,
            f"{row.theirs:.3g}",
            row.unit,
            f"{row.ratio:.3g}",
            row.growth,
            "" if row.exponent is None else f"{row.exponent:.2f}",
        ]
        for row in rows
    ]
    return tabulate(cells, HEADERS, tablefmt="github", disable_numparse=True)
