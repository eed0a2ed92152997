"""A weighted mean of target and source (as in WiSE-FT, Wortsman et al. 2022, arXiv:2109.01903)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from points24.harness.recovery.methods.method import Tensor, Weighted, register


@register
@dataclass(frozen=True, kw_only=True)
class Interpolate(Weighted):
    """(1 - weight) T + weight S."""

    name: ClassVar[str] = "interpolate"
    ends_at_source: ClassVar[bool] = True

    def new_tensor(self, source: Tensor, target: Tensor, base: Tensor | None) -> Tensor:
        return target.double() * (1 - self.weight) + source.double() * self.weight
