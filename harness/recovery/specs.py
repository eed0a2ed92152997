"""Which ranks and which layers: "top 20% + tail 5%", "top 128", "first 25%", "0-6", "all".

Rank 0 is the largest singular value, layer 0 the first. A share is a percentage of what there is, rounded
to the nearest whole number (a half upwards), and at least one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import NamedTuple

from points24.tasks.errors import InputError

Interval = tuple[int, int]
"""The ranks from the first number up to, but not including, the second."""

RESTORE = ("directions", "values", "both")
"""What of the source takes the place of the target's, at the chosen ranks."""


class Cut(NamedTuple):
    """What to restore in one matrix."""

    restore: str
    intervals: tuple[Interval, ...]
    """Disjoint, ascending."""
    taper: int = 0
    """Ranks over which a cut is spread; 0 is a hard cut."""


_AMOUNT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(%?)", re.ASCII)
_LAYER_RANGE = re.compile(r"(\d{1,6})(?:\s*-\s*(\d{1,6}))?", re.ASCII)


@dataclass(frozen=True)
class Amount:
    """A share of a whole, or a count."""

    number: Fraction
    """Percent in (0, 100], or a whole number of at least one."""
    percent: bool

    @property
    def text(self) -> str:
        """As it is typed, without needless digits: 20% or 128."""
        digits = Decimal(self.number.numerator) / self.number.denominator
        return f"{digits:f}" + ("%" if self.percent else "")

    @property
    def share(self) -> float | None:
        """The share of a whole, in (0, 1]; None for a count."""
        return float(self.number / 100) if self.percent else None

    def of(self, whole: int) -> int:
        """How many of `whole` items that is: from 1 to `whole`."""
        count = floor(self.number * whole / 100 + Fraction(1, 2)) if self.percent else int(self.number)
        return min(whole, max(1, count))


def parse_amount(given: str | int) -> Amount:
    """Read ``20%`` or ``128``.

    Raises:
        InputError: neither a percentage in (0, 100] nor a whole number of at least one.
    """
    if match := _AMOUNT.fullmatch(str(given).strip()):
        number, percent = Fraction(match[1]), bool(match[2])
        if number > 0 and (number <= 100 if percent else number.denominator == 1):
            return Amount(number, percent)
    raise InputError(f"{given!r}: expected a share such as 20% (up to 100%) or a count such as 128")


@dataclass(frozen=True)
class RankSpec:
    """Leading and trailing ranks: the union of the parts."""

    text: str
    parts: tuple[tuple[str, Amount], ...]
    """("top" or "tail", how many); none means every rank."""

    @property
    def share(self) -> float | None:
        """The share of the ranks that is asked for, in (0, 1]; None if a part is a count."""
        shares: dict[str, float] = {}
        for end, amount in self.parts:
            if amount.share is None:
                return None
            shares[end] = max(shares.get(end, 0.0), amount.share)
        return min(1.0, sum(shares.values())) if shares else 1.0

    def intervals(self, ranks: int) -> tuple[Interval, ...]:
        """The chosen ranks out of so many, as disjoint ascending intervals that do not touch."""
        top = max((amount.of(ranks) for end, amount in self.parts if end == "top"), default=0)
        tail = max((amount.of(ranks) for end, amount in self.parts if end == "tail"), default=0)
        if not self.parts or top + tail >= ranks:
            return ((0, ranks),)
        return tuple(i for i in ((0, top), (ranks - tail, ranks)) if i[0] < i[1])


def parse_ranks(given: str | int) -> RankSpec:
    """Read ``top 20%``, ``tail 5%``, ``top 20% + tail 5%``, ``top 128`` or ``all``.

    Equal ranks have equal specs: the text is rewritten with the top first, and without needless digits.

    Raises:
        InputError: anything else.
    """
    words = str(given).strip().lower()
    if words == "all":
        return RankSpec("all", ())
    parts = []
    for part in words.split("+"):
        end, _, amount = part.strip().partition(" ")
        if end not in ("top", "tail") or not amount:
            raise InputError(
                f"ranks {str(given)!r}: expected all, or 'top 20%', 'tail 5%', 'top 128' joined by +"
            )
        parts.append((end, parse_amount(amount)))
    parts = sorted(dict.fromkeys(parts), key=lambda part: part[0], reverse=True)
    return RankSpec(" + ".join(f"{end} {amount.text}" for end, amount in parts), tuple(parts))


@dataclass(frozen=True)
class LayerSpec:
    """Layers at one end, a list of ranges, or all of them."""

    text: str
    end: str | None
    """ "first" or "last", with `amount`; None: `ranges`."""
    amount: Amount | None
    ranges: tuple[tuple[int, int], ...]
    """Both ends included; none means every layer."""

    @property
    def share(self) -> float | None:
        """The share of the layers that is asked for, in (0, 1]; None for a count or ranges."""
        if self.amount is not None:
            return self.amount.share
        return None if self.ranges else 1.0

    def layers(self, count: int) -> frozenset[int]:
        """The chosen layers of a model with so many.

        Raises:
            InputError: a layer that the model does not have.
        """
        if self.amount is not None:
            chosen = self.amount.of(count)
            return frozenset(range(chosen) if self.end == "first" else range(count - chosen, count))
        if not self.ranges:
            return frozenset(range(count))
        layers = frozenset(i for first, last in self.ranges for i in range(first, last + 1))
        if beyond := [i for i in layers if i >= count]:
            raise InputError(f"layers {self.text!r}: there is no layer {min(beyond)}; allowed: 0-{count - 1}")
        return layers


ALL_LAYERS = LayerSpec("all", None, None, ())


def parse_layers(text: str) -> LayerSpec:
    """Read ``first 25%``, ``last 4``, ``0-6``, ``0-3,9`` or ``all``.

    Equal lists have equal specs: ``0,1,2`` becomes ``0-2``.

    Raises:
        InputError: anything else.
    """
    words = " ".join(text.strip().lower().split())
    if words == "all":
        return ALL_LAYERS
    end, _, amount = words.partition(" ")
    if end in ("first", "last") and amount:
        found = parse_amount(amount)
        return LayerSpec(f"{end} {found.text}", end, found, ())
    ranges = []
    for part in words.split(","):
        match = _LAYER_RANGE.fullmatch(part.strip())
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise InputError(f"layers {text!r}: expected 'first 25%', 'last 4', 0-6, 0-3,9 or all")
        ranges.append((int(match[1]), int(match[2] or match[1])))
    joined = _joined(ranges)
    text = ",".join(f"{first}-{last}" if first < last else f"{first}" for first, last in joined)
    return LayerSpec(text, None, None, joined)


def _joined(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The same numbers as ascending ranges with gaps between them; both ends included."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    return tuple(joined)


def weights(intervals: Sequence[Interval], ranks: int, taper: int = 0) -> list[float]:
    """How much of each rank is restored, in [0, 1].

    Without a taper 1 inside the intervals and 0 outside. With one, the step at each cut (an end of an
    interval that is no end of the spectrum) becomes a straight line over `taper` ranks, centred at the cut.
    """

    def weight(rank: int, start: int, stop: int) -> float:
        ends = ([rank + 0.5 - start] if start > 0 else []) + ([stop - rank - 0.5] if stop < ranks else [])
        inside = min(ends, default=float(ranks))
        return min(1.0, max(0.0, 0.5 + inside / taper)) if taper else float(inside > 0)

    return [max((weight(rank, *i) for i in intervals), default=0.0) for rank in range(ranks)]


def in_words(text: str, share: float | None, noun: str) -> str:
    """``all ranks``, ``top 20% of ranks``, ``top 128 ranks``, ``layers 0-6``."""
    if text[0].isdigit():
        return f"{noun} {text}"
    return f"{text} {noun}" if text == "all" or share is None else f"{text} of {noun}"
