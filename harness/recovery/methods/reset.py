"""Copy whole layers of the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from points24.harness.recovery.methods.method import Method, Tensor, register


@register
@dataclass(frozen=True, kw_only=True)
class Reset(Method):
    """Every tensor of the chosen layers, and none outside them."""

    name: ClassVar[str] = "reset"
    needs_layers: ClassVar[bool] = True

    def changes_tensor(
        self, modules: frozenset[str], layer: int | None, chosen: frozenset[int], count: int
    ) -> bool:
        return layer in chosen

    def new_tensor(self, source: Tensor, target: Tensor, base: Tensor | None) -> Tensor:
        return source

    @property
    def restores_whole_layers(self) -> bool:
        return True
