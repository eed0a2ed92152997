"""A recipe: a method with its settings, and the layers it works on.

The analysis reads recipes, so nothing here imports torch.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from points24.harness.recovery.methods import DEFAULT, method_named
from points24.harness.recovery.methods.method import Method
from points24.harness.recovery.specs import ALL_LAYERS, LayerSpec, RankSpec, in_words, parse_layers
from points24.tasks.errors import InputError

_PAPER_SCRIPTS = ("compat", "paper_scripts")
"""Switches in old records of spectral recovery for what is now the method paper-scripts."""


@dataclass(frozen=True)
class Recipe:
    """How one recovered checkpoint is made."""

    method: Method
    layers: LayerSpec = ALL_LAYERS

    @property
    def reads_layers(self) -> bool:
        """Whether it has to know which tensors belong to which layer or module."""
        is_partial = self.layers != ALL_LAYERS or self.method.modules is not None
        return is_partial or self.method.reads_layers

    def describe(self) -> dict[str, Any]:
        """The settings that matter for the method, as they are recorded."""
        return {"method": self.method.name, "layers": self.layers.text} | self.method.describe()

    @classmethod
    def read(cls, recorded: Mapping[str, Any]) -> Recipe:
        """The recipe that a record describes; source, target and name are ignored.

        Raises:
            InputError: a method that is not known, or a setting that cannot be read or is missing.
        """
        is_old = any(recorded.get(switch) for switch in _PAPER_SCRIPTS)
        method = "paper-scripts" if is_old else str(recorded["method"])
        layers = str(recorded.get("layers") or "all")
        wanted = {name: recorded.get(name) for name in method_named(method).settings()}
        own = {
            name: [value] for name, value in wanted.items() if value or (value == 0 and value is not False)
        }
        return recipes_of(method=method, layers=[layers], **own)[0]

    @property
    def name(self) -> str:
        """A folder name, another one for every recipe: ``directions-top-20pct-layers-all``."""
        before, after = self.method.folder
        text = f"{before} layers {self.layers.text} {after}".rstrip()
        text = re.sub(r"(?<=\s)-", "minus ", text)  # a negative number, not the middle of 0-6 or 1e-05
        return re.sub(r"[^\w.]+", "-", text.replace("%", "pct").replace("+", "and").replace(",", " and "))

    @property
    def label(self) -> str:
        """``directions, top 20% of ranks, first 25% of layers``, ``interpolate 0.5``."""
        layers = self.layers.text
        words = "" if layers == "all" else in_words(layers, self.layers.share, "layers")
        return ", ".join(filter(None, (self.method.label, words, self.method.variant)))

    @property
    def short(self) -> str:
        """What tells it from others of its kind: ``top 20%, first 25%``, ``0.5``, ``all``."""
        layers = "" if self.layers.text == "all" else self.layers.text
        return ", ".join(filter(None, (self.method.short, layers, self.method.variant))) or "all"

    @property
    def ranks(self) -> RankSpec | None:
        """None for a method without ranks."""
        return getattr(self.method, "ranks", None)

    @property
    def weight(self) -> float | None:
        """None for a method without one."""
        return getattr(self.method, "weight", None)


def recipes_of(
    *, method: str = DEFAULT, layers: Sequence[str] = (), **settings: Sequence[Any] | bool | None
) -> list[Recipe]:
    """Every combination of the values given: of the layers, and of each setting of the method.

    A setting without values has its default; a switch is given as True.

    Raises:
        InputError: a setting that is not the method's, is missing or cannot be read; a recipe given twice.
    """
    kind = method_named(method)
    own = kind.settings()
    given = {name: [True] if values is True else list(values) for name, values in settings.items() if values}
    for name in given:
        if name not in own:
            raise InputError(f"{name} does not go with method {method}")
    for name, setting in own.items():
        if setting.example and name not in given:
            raise InputError(f"{name} is missing: {setting.example}")
    if kind.needs_layers and not layers:
        raise InputError("layers is missing: 'first 25%', 0-6, ...")
    names = [name for name in own if name in given]
    choices = [[own[name].parse(value) for value in given[name]] for name in names]
    recipes = [
        Recipe(kind(**dict(zip(names, values, strict=True))), chosen)
        for *values, chosen in itertools.product(*choices, map(parse_layers, layers or ["all"]))
    ]
    refuse_doubles(recipes)
    return recipes


def check_needs(recipes: Iterable[Recipe], base: object, others: Sequence[object]) -> None:
    """Check that the recipes have the checkpoints that they need besides source and target.

    Raises:
        InputError: one is missing.
    """
    for method in (recipe.method for recipe in recipes):
        if method.needs_base and not base:
            raise InputError(f"base is missing: {method.name} needs the ancestor of source and target")
        if method.needs_others and not others:
            raise InputError(
                f"others is missing: {method.name} needs more checkpoints than source and target"
            )


def refuse_doubles(recipes: Sequence[Recipe]) -> None:
    """Raises: InputError: two recipes are the same, or would have one folder."""
    if len(set(recipes)) < len(recipes):
        raise InputError("the same recipe is asked for twice")
    names = [recipe.name for recipe in recipes]
    if doubles := {name for name in names if names.count(name) > 1}:
        raise InputError(f"two recipes would be called {min(doubles)}; recover with each on its own")
