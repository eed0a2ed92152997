"""Some singular directions of the update T - S of a matrix, the others taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from points24.harness.recovery.specs import Interval
from points24.harness.recovery.spectral.factors import Factorise, Factors, orient

Keep = Callable[[Sequence[float], tuple[int, int]], Sequence[Interval]]
"""(singular values of an update, its shape) -> the ranks to keep."""


@dataclass(frozen=True)
class Update:
    """The update of one matrix, factorised once for every choice of what to keep."""

    target: Tensor
    """(rows, cols), fp64."""
    change: Tensor
    """D = T - S, (rows, cols), fp64."""
    factors: Factors
    """Of D."""

    @classmethod
    def of(cls, source: Tensor, target: Tensor, factors_of: Factorise) -> Update:
        """Raises: ValueError: NaN or infinite elements."""
        t = target.double()
        change = t - source
        return cls(t, change, factors_of(change, (0, min(change.shape))))

    def keep(self, keep: Keep) -> tuple[Tensor, dict[str, Any]]:
        """The target with all but the kept ranks of the update taken back, in fp64, and facts about that.

        With V of D = U S Vᵀ, oriented to be at least as tall as wide, the ranks I of D are D V_I V_Iᵀ. If
        every rank is kept, the target is returned to the last bit.
        """
        values = self.factors.values
        ranks = len(values)
        rows, cols = self.change.shape
        kept = keep(values.tolist(), (rows, cols))
        gone = torch.ones(ranks, dtype=torch.bool)
        for start, stop in kept:
            gone[start:stop] = False
        vectors = self.factors.directions(0, ranks)[:, gone.to(values.device)]
        change = orient(self.change)
        taken = (change @ vectors) @ vectors.T
        result = self.target - (taken if change.shape == self.change.shape else taken.T)
        facts = {
            "cuts": [{"k": k, "update": _gap(values, k)} for k in sorted(_cuts(kept, ranks))],
            "kept": ranks - int(gone.sum()),
            "null": {"update": self.factors.null},
        }
        return result, facts


def _cuts(kept: Sequence[Interval], ranks: int) -> set[int]:
    return {k for interval in kept for k in interval} - {0, ranks}


def _gap(values: Tensor, k: int) -> float | None:
    """The relative gap between the singular values at a cut: (d[k-1] - d[k]) / d[k-1]."""
    before, after = values[k - 1 : k + 1].tolist()
    return (before - after) / before if before else None
