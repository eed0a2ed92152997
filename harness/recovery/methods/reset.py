"""S in the chosen layers, T elsewhere: copy whole layers of the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from points24.harness.recovery.methods.method import Combination, Tensor, Versions, register


@register
@dataclass(frozen=True, kw_only=True)
class Reset(Combination):
    """Every tensor of the chosen layers, and none outside them; with modules, their matrices."""

    name: ClassVar[str] = "reset"
    needs_layers: ClassVar[bool] = True
    reads_layers: ClassVar[bool] = True

    def changes_tensor(
        self, modules: frozenset[str], layer: int | None, chosen: frozenset[int], count: int
    ) -> bool:
        return self.modules is None and layer in chosen

    def new_tensor(self, of: Versions) -> Tensor:
        return of.source

    @property
    def restores_whole_layers(self) -> bool:
        return self.modules is None
