"""Head, bulk and tail of the ranks, and which ranks stand for them."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

import torch
from torch import Tensor

from points24.harness.drift.quantities import END

FEW = 256
"""A matrix of so many ranks is compared at each of them."""
BULK = 64
"""How many ranks stand for the bulk of a larger one."""
POINTS = 32
"""Points of a curve in each of head, bulk and tail, at most."""


@dataclass(frozen=True)
class Ranks:
    """Which of a matrix's ranks are compared on both sides."""

    count: int
    """How many there are."""
    head: int
    """How many are the head; so many are the tail."""
    chosen: Tensor
    """All of the head and of the tail, some of the bulk; ascending: (r,)."""
    points: Tensor
    """The ranks of a curve, some of the chosen ones: (p,)."""

    @classmethod
    def of(cls, count: int) -> Ranks:
        head = END.of(count)
        bulk = spread(head, count - head, count if count <= FEW else BULK)
        parts = torch.arange(head), bulk, torch.arange(count - head, count)
        points = [part[spread(0, len(part), POINTS)] for part in parts]
        return cls(count, head, torch.cat(parts).unique(), torch.cat(points).unique())

    @property
    def ends(self) -> dict[str, slice]:
        """The head and the tail, among all ranks and among the chosen ones alike."""
        return {"head": slice(0, self.head), "tail": slice(-self.head, None)}

    def means(self, angles: Tensor) -> dict[str, float | None]:
        """Mean over head, bulk and tail of (count,) numbers that are not NaN; None where all are."""
        parts = {**self.ends, "bulk": slice(self.head, self.count - self.head)}
        means = {name: angles[part].nanmean().item() for name, part in parts.items()}
        return {name: None if isnan(mean) else mean for name, mean in means.items()}


def spread(start: int, stop: int, most: int) -> Tensor:
    """At most so many whole numbers from start to stop - 1, evenly and with both ends."""
    if stop - start <= most:
        return torch.arange(start, max(start, stop))
    return torch.linspace(start, stop - 1, most).round().long()
