"""(T + S + O₁ + … + Oₙ) / (n + 2): the mean of several checkpoints, a uniform soup (Wortsman et al. 2022,
arXiv:2203.05482); or (1 - w) T + w mean(S, O₁ … Oₙ).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from points24.harness.recovery.methods.method import (
    Combination,
    Tensor,
    Versions,
    about,
    parse_weight,
    register,
)


@register
@dataclass(frozen=True, kw_only=True)
class Soup(Combination):
    """`weight` w is the share of all but the target; by default each checkpoint counts the same."""

    name: ClassVar[str] = "soup"
    needs_others: ClassVar[bool] = True

    weight: float | None = field(
        default=None,
        metadata=about("of all but the target; default: a uniform mean", parse_weight, float | int),
    )

    def new_tensor(self, of: Versions) -> Tensor:
        count = 1 + len(of.others)
        weight = count / (count + 1) if self.weight is None else self.weight
        return of.target * (1 - weight) + sum((read() for read in of.others), start=of.source) * (
            weight / count
        )
