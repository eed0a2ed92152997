"""Add the source's task vector, its difference from the base (Ilharco et al. 2023, arXiv:2212.04089)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from points24.harness.recovery.methods.method import Tensor, Weighted, register


@register
@dataclass(frozen=True, kw_only=True)
class TaskArithmetic(Weighted):
    """T + weight (S - base)."""

    name: ClassVar[str] = "task-arithmetic"
    needs_base: ClassVar[bool] = True

    def new_tensor(self, source: Tensor, target: Tensor, base: Tensor | None) -> Tensor:
        assert base is not None
        return target.double() + (source.double() - base.double()) * self.weight
