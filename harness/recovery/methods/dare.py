"""B + drop(T - B) + w drop(S - B): DARE (Yu et al. 2023, arXiv:2311.03099).

Each element of a task vector is dropped with probability 1 - d, and divided by the `density` d otherwise, so
that its expectation stays. With `elect`, only elements with the sign of the sum are added, as in TIES
("dare_ties" in mergekit; "dare_linear" is without). mergekit rescales to the old sum of magnitudes instead.
`task_vectors.uniform` says how the seed makes the mask of a tensor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from points24.harness.recovery.methods.method import Tensor, Versions, about, register
from points24.harness.recovery.methods.task_vectors import SEED, SparseMerge, both, elected, uniform


@register
@dataclass(frozen=True, kw_only=True)
class Dare(SparseMerge):
    """`weight` w is that of the source's task vector."""

    name: ClassVar[str] = "dare"

    seed: int = field(default=0, metadata=SEED)
    elect: bool = field(default=False, metadata=about("elect signs as ties does", bool, bool))

    def new_tensor(self, of: Versions) -> Tensor:
        ours, theirs = both(of)
        kept = [
            vector * (uniform(vector, self.seed, of.name, whose) < self.density) / self.density
            for vector, whose in ((ours, "target"), (theirs, "source"))
        ]
        if self.elect:
            return of.base + elected(kept, (1, self.weight), mean=False)
        # Not B + kept: with density 1 this is task arithmetic to the last bit.
        return of.target + (kept[0] - ours) + kept[1] * self.weight
