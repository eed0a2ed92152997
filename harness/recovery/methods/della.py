"""B + λ merge(drop(T - B), drop(S - B)): DELLA (Deep et al. 2024, arXiv:2406.11617).

Drop (MAGPRUNE) keeps the element whose magnitude is of rank r = 0 … n - 1 in its row of n, smallest first,
with probability p = d - ε/2 + ε r / (n - 1), where d is the `density`, and divides what it keeps by p. Merge
elects the sign of the weighted sum and takes the weighted mean of what has it, as in TIES. mergekit's epsilon
is half of this ε, and it rescales to the old sum of magnitudes. With density 1 nothing is dropped.
`task_vectors.uniform` says how the seed makes the mask of a tensor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from points24.harness.recovery.methods.method import Tensor, Versions, about, number, register
from points24.harness.recovery.methods.task_vectors import (
    SCALE,
    SEED,
    SparseMerge,
    both,
    elected,
    uniform,
)
from points24.tasks.errors import InputError


def _parse_epsilon(value: str | float) -> float:
    return number(value, "epsilon", "a number in [0, 1)", lambda x: 0 <= x < 1)


@register
@dataclass(frozen=True, kw_only=True)
class Della(SparseMerge):
    """`weight` is that of S - B in election and mean, beside 1 for T - B; `scale` is λ."""

    name: ClassVar[str] = "della"

    epsilon: float = field(
        default=0.1,
        metadata=about("width of the range of probabilities (default 0.1)", _parse_epsilon, float | int),
    )
    scale: float = field(default=1.0, metadata=SCALE)
    seed: int = field(default=0, metadata=SEED)

    def __post_init__(self) -> None:
        low, high = self.density - self.epsilon / 2, self.density + self.epsilon / 2
        if self.density < 1 and not 0 < low <= high <= 1:
            raise InputError(
                f"density {self.density} with epsilon {self.epsilon}: probabilities from {low:g} to "
                f"{high:g}, expected in (0, 1]"
            )

    def new_tensor(self, of: Versions) -> Tensor:
        kept = [self._drop(v, of.name, w) for v, w in zip(both(of), ("target", "source"), strict=True)]
        return of.base + elected(kept, (1, self.weight), mean=True) * self.scale

    def _drop(self, vector: Tensor, name: str, whose: str) -> Tensor:
        if self.density == 1:
            return vector
        rows = vector.reshape(-1, vector.shape[-1] if vector.dim() else 1)
        ranks = rows.abs().argsort(dim=1, stable=True).argsort(dim=1)
        share = ranks.double() / max(1, rows.shape[1] - 1)
        likely = self.density - self.epsilon / 2 + share * self.epsilon
        is_kept = uniform(rows, self.seed, name, whose) < likely
        return (rows * is_kept / likely).view(vector.shape)
