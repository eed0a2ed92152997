"""T + w (S - B): add the source's task vector, its difference from the base (Ilharco et al. 2023,
arXiv:2212.04089).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from points24.harness.recovery.methods.method import Tensor, Versions, Weighted, register


@register
@dataclass(frozen=True, kw_only=True)
class TaskArithmetic(Weighted):
    """`weight` w is that of the source's task vector; the target's has 1."""

    name: ClassVar[str] = "task-arithmetic"
    needs_base: ClassVar[bool] = True

    def new_tensor(self, of: Versions) -> Tensor:
        return of.target + (of.source - of.base) * self.weight
