"""The interface of a recovery method, and the registry.

A method is a frozen dataclass whose fields are its settings; each field's `Setting` says how a flag, a grid
and a record give it. A method either changes whole tensors (`changes_tensor`, `new_tensor`) or restores
singular directions and values of matrices (`changes_matrix`, `cut`). Labels have to be readable without
torch, so neither this module nor a method's imports it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from points24.harness.recovery.specs import Cut
from points24.tasks.errors import InputError

Tensor = Any
"""A torch.Tensor."""

FOUND: dict[str, type[Method]] = {}
"""The registered methods by name; read it through `points24.harness.recovery.methods.methods`."""
M = TypeVar("M", bound="type[Method]")


@dataclass(frozen=True)
class Setting:
    """How one setting of a method is given."""

    help: str
    parse: Callable[[Any], Any]
    """(a flag's text, or a value in a grid or record) -> the field's value; raises `InputError`."""
    kinds: Any
    """The types that one value in a grid may have; bool is a switch."""
    example: str
    """What to give; only of a setting without a default."""


def about(
    text: str, parse: Callable[[Any], Any], kinds: Any = str | int, example: str = ""
) -> dict[str, Setting]:
    """The metadata of a setting's dataclass field: see `Setting`."""
    return {"setting": Setting(text, parse, kinds, example)}


def register(method: M) -> M:
    """Make a method known by its name."""
    FOUND[method.name] = method
    return method


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to recover, with its settings; the layers are the recipe's."""

    name: ClassVar[str]
    is_baseline: ClassVar[bool] = True
    """Whether it is one that spectral recovery has to beat."""
    needs_base: ClassVar[bool] = False
    """Whether `new_tensor` needs the common ancestor."""
    needs_layers: ClassVar[bool] = False
    """Whether layers have to be chosen."""
    ends_at_source: ClassVar[bool] = False
    """Whether weight 1 gives the source itself."""
    keeps_equal: ClassVar[bool] = True
    """Whether a tensor that source and target share stays as it is, unless there is a base."""
    dtype: ClassVar[str | None] = None
    """The output's dtype (F16, ...), if the method prescribes it."""

    @classmethod
    def settings(cls) -> dict[str, Setting]:
        """Its settings by name."""
        return {own.name: own.metadata["setting"] for own in fields(cls)}

    def changes_tensor(
        self, modules: frozenset[str], layer: int | None, chosen: frozenset[int], count: int
    ) -> bool:
        """Whether it replaces a tensor of that layer (from 0; None outside the layers) as a whole.

        `modules` has what the tensor's matrices can be chosen by: modules (several in a fused tensor) and
        their groups; it is empty for norms, biases and the like. The recipe has chosen some of the model's
        `count` layers.
        """
        return False

    def new_tensor(self, source: Tensor, target: Tensor, base: Tensor | None) -> Tensor:
        """What takes the place of the target's tensor: the same shape, in fp64 or the source's own dtype."""
        raise NotImplementedError

    def changes_matrix(self, modules: frozenset[str], layer: int | None, chosen: frozenset[int]) -> bool:
        """Whether it restores singular directions or values of a matrix of that module; likewise."""
        return False

    def cut(self, ranks: int) -> Cut:
        """What to restore in a matrix of so many ranks."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Its settings as records carry them."""
        return {name: getattr(self, name) for name in self.settings()}

    @property
    def kind(self) -> str:
        """What recipes are grouped by: what is restored (``values``, …), or the method's name."""
        return self.name

    @property
    def label(self) -> str:
        """The start of a recipe's label: ``directions, top 20% of ranks``, ``interpolate 0.5``."""
        return ", ".join(filter(None, (self.kind, self.short)))

    @property
    def short(self) -> str:
        """The settings alone, empty where they are the defaults: ``top 20%``, ``0.5``."""
        return ", ".join(f"{name} {value}" for name, value in self.describe().items())

    @property
    def variant(self) -> str:
        """Rare settings, for the end of a label: ``q_proj k_proj, taper 2%``."""
        return ""

    @property
    def folder(self) -> tuple[str, str]:
        """The words of a folder's name before and after the layers."""
        return f"{self.name} {self.short}".rstrip(), ""

    @property
    def rank_share(self) -> float | None:
        """The share of ranks that is restored, in (0, 1]; None for a count, or without ranks."""
        return None

    @property
    def restores_whole_layers(self) -> bool:
        """Whether nothing but the choice of layers limits what is restored."""
        return False


def parse_weight(value: str | float) -> float:
    """A finite number.

    Raises:
        InputError: anything else.
    """
    try:
        weight = float(value) if isinstance(value, str) else value
        if math.isfinite(weight):
            return weight
    except (TypeError, ValueError):
        pass
    raise InputError(f"weight {value}: expected a number")


@dataclass(frozen=True, kw_only=True)
class Weighted(Method):
    """A method that combines whole tensors, with a weight; all tensors if every layer is chosen."""

    weight: float = field(
        metadata=about("of the source", parse_weight, float | int, "the share of the source, such as 0.5")
    )

    def changes_tensor(
        self, modules: frozenset[str], layer: int | None, chosen: frozenset[int], count: int
    ) -> bool:
        return layer in chosen or (layer is None and len(chosen) == count)

    @property
    def label(self) -> str:
        return f"{self.name} {self.weight:g}"

    @property
    def short(self) -> str:
        return f"{self.weight:g}"

    @property
    def folder(self) -> tuple[str, str]:
        return f"{self.name} {self.weight}", ""
