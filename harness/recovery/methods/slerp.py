"""sin((1 - w) θ) / sin θ · T + sin(w θ) / sin θ · S, with θ the angle between T and S as vectors: along the
arc from target to source (Shoemake 1985, doi:10.1145/325165.325242), tensor by tensor.

Where the arc is not defined (a zero tensor, or tensors that are parallel or opposite) it is the straight
line. mergekit takes the straight line wherever cos θ > 0.9995 as well; we do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from points24.harness.recovery.methods.method import Tensor, Versions, Weighted, register

_PARALLEL = 1e-8
"""In fp64 the two formulas agree below this angle."""


@register
@dataclass(frozen=True, kw_only=True)
class Slerp(Weighted):
    """`weight` w is the share of the arc: 0 is the target, 1 the source."""

    name: ClassVar[str] = "slerp"
    ends_at_source: ClassVar[bool] = True

    def new_tensor(self, of: Versions) -> Tensor:
        angle, weight = _angle(of.target, of.source), self.weight
        if not _PARALLEL < angle < math.pi - _PARALLEL:
            return of.target * (1 - weight) + of.source * weight
        ours, theirs = math.sin((1 - weight) * angle), math.sin(weight * angle)
        return of.target * (ours / math.sin(angle)) + of.source * (theirs / math.sin(angle))


def _angle(a: Tensor, b: Tensor) -> float:
    """The angle between two tensors as vectors, in [0, π]; 0 if one is zero (Kahan's formula)."""
    lengths = a.norm().item(), b.norm().item()
    if 0 in lengths:
        return 0.0
    a, b = a / lengths[0], b / lengths[1]
    return 2 * math.atan2((a - b).norm().item(), (a + b).norm().item())
