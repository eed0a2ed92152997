"""B + λ merge(trim(T - B), trim(S - B)): TIES (Yadav et al. 2023, arXiv:2306.01708).

Trim keeps the `density` largest elements of a task vector by magnitude. Then, element by element, the sign of
the weighted sum is elected, and the values with that sign are averaged by weight. The paper trims over all
parameters of a model at once; we do it tensor by tensor, as mergekit does. Of equal magnitudes at the edge
the first elements stay.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from points24.harness.recovery.methods.method import Tensor, Versions, register
from points24.harness.recovery.methods.task_vectors import SCALE, SparseMerge, both, elected


@register
@dataclass(frozen=True, kw_only=True)
class Ties(SparseMerge):
    """`weight` is that of S - B in election and mean, beside 1 for T - B (the paper: 1); `scale` is λ."""

    name: ClassVar[str] = "ties"

    scale: float = field(default=1.0, metadata=SCALE)

    def new_tensor(self, of: Versions) -> Tensor:
        trimmed = [_trim(vector, self.density) for vector in both(of)]
        return of.base + elected(trimmed, (1, self.weight), mean=True) * self.scale


def _trim(vector: Tensor, density: float) -> Tensor:
    """The vector with zeros for all but the floor(density · count) largest elements, at least one."""
    count = vector.numel()
    kept = max(1, int(density * count))
    if kept >= count:
        return vector
    size = vector.abs().flatten()
    edge = size.kthvalue(count - kept + 1).values
    above, at = size > edge, size == edge
    above |= at & (at.cumsum(0) <= kept - above.sum())
    return vector * above.view(vector.shape)
