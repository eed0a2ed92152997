"""(1 - w) T + w S: a weighted mean of target and source (as in WiSE-FT, Wortsman et al. 2022,
arXiv:2109.01903).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from points24.harness.recovery.methods.method import Tensor, Versions, Weighted, register


@register
@dataclass(frozen=True, kw_only=True)
class Interpolate(Weighted):
    """`weight` w is the share of the source: 0 is the target, 1 the source."""

    name: ClassVar[str] = "interpolate"
    ends_at_source: ClassVar[bool] = True

    def new_tensor(self, of: Versions) -> Tensor:
        return of.target * (1 - self.weight) + of.source * self.weight
