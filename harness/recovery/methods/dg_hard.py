"""S + Σ dᵢ uᵢ vᵢᵀ over dᵢ > τ of T - S = Σ dᵢ uᵢ vᵢᵀ: DG-Hard (Abro and Tahir 2026, arXiv:2605.20296, where
S is the model before fine-tuning), which takes the bulk of the update's spectrum for noise.

    τ = θ ω(β) median(d) / μ(β),   β = short side / long side
    ω(β)² = 2 (β + 1) + 8 β / (β + 1 + √(β² + 14 β + 1))

is the optimal hard threshold for unknown noise (Gavish and Donoho 2014, arXiv:1305.5870); μ(β) is the median
singular value of noise, μ² the median of the Marchenko-Pastur distribution on [(1 - √β)², (1 + √β)²].

The authors' code also filters embeddings and output layer; here `modules` has to name them. It takes the
lower of two middle values for the median, we take their mean. An update of less than half of the ranks, a
LoRA's for instance, has median 0 and stays whole.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar

from points24.harness.recovery.methods.method import UpdateFilter, about, number, register
from points24.harness.recovery.specs import Interval


def _parse_threshold(value: str | float) -> float:
    return number(value, "threshold", "a number above 0", lambda x: 0 < x < math.inf)


@register
@dataclass(frozen=True, kw_only=True)
class DgHard(UpdateFilter):
    """`threshold` is θ, in multiples of the optimal one; above 1 less of the update stays."""

    name: ClassVar[str] = "dg-hard"

    threshold: float = field(
        default=1.0,
        metadata=about("in multiples of Gavish and Donoho's (default 1)", _parse_threshold, float | int),
    )

    def kept(self, values: Sequence[float], shape: tuple[int, int]) -> Sequence[Interval]:
        least = self.threshold * optimal_threshold(shape) * statistics.median(values)
        count = sum(value > least for value in values)
        return ((0, count),) if count else ()


@cache
def optimal_threshold(shape: tuple[int, int]) -> float:
    """The optimal hard threshold in multiples of the median singular value: about 2.858 if square."""
    beta = min(shape) / max(shape)
    omega = math.sqrt(2 * (beta + 1) + 8 * beta / (beta + 1 + math.sqrt(beta**2 + 14 * beta + 1)))
    return omega / math.sqrt(marchenko_pastur_median(beta))


def marchenko_pastur_median(beta: float, steps: int = 20_000) -> float:
    """The median of the Marchenko-Pastur distribution with aspect ratio β in (0, 1], to about 1e-8.

    With λ = 1 + β - 2 √β cos φ the density becomes 2 sin² φ / (π λ) dφ on [0, π], which is smooth.
    """

    def eigenvalue(angle: float) -> float:
        return 1 + beta - 2 * math.sqrt(beta) * math.cos(angle)

    width, below = math.pi / steps, 0.0
    for step in range(steps):
        middle = (step + 0.5) * width
        share = 2 * math.sin(middle) ** 2 / (math.pi * eigenvalue(middle)) * width
        if below + share >= 0.5:
            return eigenvalue((step + (0.5 - below) / share) * width)
        below += share
    raise AssertionError("the density sums to 1")
