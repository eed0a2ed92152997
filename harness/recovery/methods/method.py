"""The interface of a recovery method, and the registry.

A method is a frozen dataclass whose fields are its settings; each field's `Setting` says how a flag, a grid
and a record give it. There are three kinds:

- a `Combination` makes a tensor from the same tensor of several checkpoints (`new_tensor`);
- an `UpdateFilter` keeps some singular directions of the update T - S of a matrix (`kept`);
- spectral recovery restores singular directions and values of a matrix (`cut`).

Labels have to be readable without torch, so neither this module nor a method's imports it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from points24.harness.recovery.specs import Cut, Interval
from points24.tasks.errors import InputError

Tensor = Any
"""A torch.Tensor."""

FOUND: dict[str, type[Method]] = {}
"""The registered methods by name; read it through `points24.harness.recovery.methods.methods`."""
M = TypeVar("M", bound="type[Method]")

_MODULE = re.compile(r"[A-Za-z]\w*", re.ASCII)


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


def parse_modules(names: str | Sequence[str]) -> tuple[str, ...]:
    """Read ``q_proj,k_proj``, or a record's list; a name given twice counts once.

    Raises:
        InputError: what cannot be a module's name.
    """
    given = names.split(",") if isinstance(names, str) else names
    found = tuple(dict.fromkeys(name.strip() for name in given))
    if odd := [name for name in found if not _MODULE.fullmatch(name)]:
        raise InputError(f"modules: {odd[0]!r} is no module's name; expected q_proj,k_proj,...")
    return found


@dataclass(frozen=True)
class Versions:
    """One tensor as each checkpoint has it: all of one shape, in fp64."""

    name: str
    layer: int | None
    """The layer that it belongs to, from 0; None outside the layers."""
    layers: int
    """How many layers the model has."""
    source: Tensor
    target: Tensor
    base: Tensor | None = None
    """Of a method that `needs_base`."""
    others: tuple[Callable[[], Tensor], ...] = ()
    """Of a method that `needs_others`; each is read when it is called, since all at once may not fit."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to recover, with its settings; the layers are the recipe's."""

    name: ClassVar[str]
    is_baseline: ClassVar[bool] = True
    """Whether it is one that spectral recovery has to beat."""
    needs_base: ClassVar[bool] = False
    """Whether it needs the common ancestor of source and target."""
    needs_others: ClassVar[bool] = False
    """Whether it needs more checkpoints than source, target and base."""
    needs_layers: ClassVar[bool] = False
    """Whether layers have to be chosen."""
    reads_layers: ClassVar[bool] = True
    """Whether it has to know which tensor belongs to which layer even if all are chosen."""
    ends_at_source: ClassVar[bool] = False
    """Whether weight 1 gives the source itself."""
    keeps_equal: ClassVar[bool] = True
    """Whether a tensor that all its checkpoints share stays as it is."""
    dtype: ClassVar[str | None] = None
    """The output's dtype (F16, ...), if the method prescribes it."""

    modules: tuple[str, ...] | None = field(
        default=None,
        metadata=about("q_proj,k_proj,...; default: every matrix inside the layers", parse_modules, str),
    )

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

    def changes_matrix(self, modules: frozenset[str], layer: int | None, chosen: frozenset[int]) -> bool:
        """Whether it changes a matrix of that module, and no more of the tensor; likewise."""
        if layer is not None and layer not in chosen:
            return False
        return layer is not None if self.modules is None else not modules.isdisjoint(self.modules)

    def cut(self, ranks: int) -> Cut:
        """What to restore in a matrix of so many ranks."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Its settings as records carry them, without those that are unset."""
        given = {name: getattr(self, name) for name in self.settings()}
        return {
            name: getattr(value, "text", value)
            for name, value in given.items()
            if value is not None and value is not False
        }

    @property
    def leaves_equal(self) -> bool:
        """Whether a tensor that source and target share stays as it is."""
        return self.keeps_equal and not self.needs_base and not self.needs_others

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
        return ", ".join(self._settings_in_words())

    @property
    def variant(self) -> str:
        """Rare settings, for the end of a label: ``q_proj k_proj, taper 2%``."""
        return " ".join(self.modules or ())

    @property
    def folder(self) -> tuple[str, str]:
        """The words of a folder's name before and after the layers."""
        return " ".join([self.name, *self._settings_in_words()]), self._modules_in_words()

    @property
    def rank_share(self) -> float | None:
        """The share of ranks that is restored, in (0, 1]; None for a count, or without ranks."""
        return None

    @property
    def restores_whole_layers(self) -> bool:
        """Whether nothing but the choice of layers limits what is restored."""
        return False

    def _settings_in_words(self, *left_out: str) -> list[str]:
        """``density 0.2``, for each setting that differs from its default; the modules have other places."""
        words = []
        for own in fields(self):
            value = getattr(self, own.name)
            if own.name not in ("modules", *left_out) and value != own.default:
                words.append(own.name if value is True else f"{own.name} {getattr(value, 'text', value)}")
        return words

    def _modules_in_words(self) -> str:
        return "" if self.modules is None else " ".join(["modules", *self.modules])


@dataclass(frozen=True, kw_only=True)
class Combination(Method):
    """A method that combines tensors of several checkpoints.

    It replaces whole tensors, norms and biases included: those of the chosen layers, and those outside the
    layers if every layer is chosen. With modules it replaces their matrices alone, by the same values.
    """

    reads_layers: ClassVar[bool] = False

    def changes_tensor(
        self, modules: frozenset[str], layer: int | None, chosen: frozenset[int], count: int
    ) -> bool:
        if self.modules is not None:
            return False
        return layer in chosen or (layer is None and len(chosen) == count)

    def changes_matrix(self, modules: frozenset[str], layer: int | None, chosen: frozenset[int]) -> bool:
        return self.modules is not None and super().changes_matrix(modules, layer, chosen)

    def new_tensor(self, of: Versions) -> Tensor:
        """What takes the place of the target's tensor: the same shape."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class UpdateFilter(Method):
    """A method that keeps some singular directions of the update D = T - S of a matrix.

    With D = Σ dᵢ uᵢ vᵢᵀ, largest singular value first, the matrix becomes S + Σ dᵢ uᵢ vᵢᵀ over what is kept.
    """

    def kept(self, values: Sequence[float], shape: tuple[int, int]) -> Sequence[Interval]:
        """The ranks to keep of an update of (rows, cols), given its singular values, largest first."""
        raise NotImplementedError


def parse_weight(value: str | float) -> float:
    """A finite number.

    Raises:
        InputError: anything else.
    """
    return number(value, "weight", "a number", math.isfinite)


def parse_positive(value: str | float) -> float:
    """A finite number above 0.

    Raises:
        InputError: anything else.
    """
    return number(value, "scale", "a number above 0", lambda x: 0 < x < math.inf)


def number(value: str | float, name: str, expected: str, fits: Callable[[float], bool]) -> float:
    """A number that fits.

    Raises:
        InputError: anything else: it names the setting and what was expected.
    """
    try:
        found = float(value) + 0.0  # -0.0 becomes 0.0, its equal, lest one recipe have two names
        if fits(found) and not isinstance(value, bool):
            return found
    except (TypeError, ValueError):
        pass
    raise InputError(f"{name} {value}: expected {expected}")


@dataclass(frozen=True, kw_only=True)
class Weighted(Combination):
    """A combination with a weight."""

    weight: float = field(
        metadata=about("of the source", parse_weight, float | int, "the share of the source, such as 0.5")
    )

    @property
    def label(self) -> str:
        return f"{self.name} {self.weight:g}"

    @property
    def short(self) -> str:
        return f"{self.weight:g}"

    @property
    def variant(self) -> str:
        return ", ".join(filter(None, (*self._settings_in_words("weight"), super().variant)))

    @property
    def folder(self) -> tuple[str, str]:
        words = [self.name, f"{self.weight}", *self._settings_in_words("weight")]
        return " ".join(words), self._modules_in_words()
