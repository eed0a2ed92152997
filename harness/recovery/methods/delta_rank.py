"""S + Σ dᵢ uᵢ vᵢᵀ over the chosen ranks of T - S = Σ dᵢ uᵢ vᵢᵀ, largest singular value first: keep the head
of what fine-tuning changed, or cut its tail (Sun and Troitskii 2026, arXiv:2606.07596, where S is the model
before fine-tuning).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from points24.harness.recovery.methods.method import UpdateFilter, about, register
from points24.harness.recovery.specs import Interval, RankSpec, parse_ranks


@register
@dataclass(frozen=True, kw_only=True)
class DeltaRank(UpdateFilter):
    """`ranks` of T - S are kept: ``top 20%`` keeps the head, ``top 80%`` cuts the tail."""

    name: ClassVar[str] = "delta-rank"

    ranks: RankSpec = field(
        metadata=about("of the update, which are kept", parse_ranks, example="'top 20%', 'top 128', ...")
    )

    def kept(self, values: Sequence[float], shape: tuple[int, int]) -> Sequence[Interval]:
        return self.ranks.intervals(len(values))
