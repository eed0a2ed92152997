"""S + λ(l) (T - S), λ growing linearly from the first layer to the last: LiNeS (Wang et al. 2024,
arXiv:2410.17146), which keeps shallow layers near the source and leaves deep ones to the target.

With L layers, λ(l) = α + β l / (L - 1) for l = 0 … L - 1, and λ = α outside the layers, as in the authors'
code. Their one-task setting has α + β = 1: the last layer is the target's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from points24.harness.recovery.methods.method import (
    Tensor,
    Versions,
    Weighted,
    about,
    parse_weight,
    register,
)


@register
@dataclass(frozen=True, kw_only=True)
class Lines(Weighted):
    """`weight` is the source's share in the first layer, 1 - α; `last` that in the last one, 1 - α - β."""

    name: ClassVar[str] = "lines"
    reads_layers: ClassVar[bool] = True

    last: float = field(
        default=0.0, metadata=about("of the source in the last layer (default 0)", parse_weight, float | int)
    )

    def new_tensor(self, of: Versions) -> Tensor:
        depth = 0.0 if of.layer is None or of.layers == 1 else of.layer / (of.layers - 1)
        weight = self.weight + (self.last - self.weight) * depth
        return of.target * (1 - weight) + of.source * weight
