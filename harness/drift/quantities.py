"""The numbers that tell how far a matrix has moved, each with its meaning in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any, NamedTuple

from points24.harness.recovery.specs import parse_amount

END = parse_amount("10%")
"""Of the ranks: the head are the leading ones, the tail the trailing ones, the bulk those between."""


class Quantity(NamedTuple):
    path: tuple[str, ...]
    """Where the facts of a matrix hold it."""
    title: str
    unit: str
    """``%``, ``°`` or nothing."""
    meaning: str

    def of(self, facts: Mapping[str, Any]) -> float | None:
        """None where it is not defined, as in a matrix of zeros."""
        found: Any = facts
        for key in self.path:
            found = found[key]
        return found

    def mean(self, rows: Iterable[Mapping[str, Any]]) -> float | None:
        """Over the matrices for which it is defined; None without any."""
        known = [value for row in rows if (value := self.of(row)) is not None]
        return fmean(known) if known else None

    def shown(self, value: float | None) -> str:
        """To three digits, with its unit."""
        if value is None:
            return "–"
        return f"{100 * value:.3g} %" if self.unit == "%" else f"{value:.3g}{self.unit}"


def _ends(end: str, which: str) -> dict[str, Quantity]:
    sides = {"left": "left (output)", "right": "right (input)"}
    return {
        f"{end}_{side}": Quantity(
            ("subspaces", side, end, "mean"),
            f"{end}, {name}",
            "°",
            f"mean principal angle between the spans of the {which} {END.text} of {side} singular vectors",
        )
        for side, name in sides.items()
    }


def _vectors() -> dict[str, Quantity]:
    return {
        f"{part}_vectors_{side}": Quantity(
            ("vectors", side, part),
            f"{part} vectors, {side}",
            "°",
            f"mean angle between {side} singular vectors of equal rank, {which}",
        )
        for part, which in (
            ("head", f"leading {END.text}"),
            ("bulk", "between head and tail"),
            ("tail", f"trailing {END.text}"),
        )
        for side in ("left", "right")
    }


QUANTITIES: Mapping[str, Quantity] = {
    "values": Quantity(("values",), "singular values", "%", "‖b − a‖ / ‖a‖ of the singular values a, b"),
    "change": Quantity(("change",), "matrix", "%", "‖B − A‖ / ‖A‖, Frobenius"),
    "unchanged": Quantity(
        ("unchanged",), "unchanged", "%", "elements whose bf16 value is the same: the update's sparsity"
    ),
    "energy": Quantity(
        ("energy",),
        "inside the head",
        "%",
        f"of ‖B − A‖², between A's leading {END.text} of left and of right vectors",
    ),
    **_ends("head", "leading"),
    **_ends("tail", "trailing"),
    **_vectors(),
}
"""Name, as in drift.csv -> quantity."""
