"""What a recovery is asked to do, and what that means for every tensor of a pair of checkpoints."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from points24.harness.checkpoints.read import FLOATS, Checkpoint, StoredTensor
from points24.harness.recovery.architecture import Family, Matrix
from points24.harness.recovery.specs import (
    ALL_LAYERS,
    ALL_RANKS,
    Amount,
    LayerSpec,
    RankSpec,
    parse_amount,
    parse_layers,
    parse_ranks,
)
from points24.harness.recovery.spectral.splice import RESTORE, Cut
from points24.tasks.errors import InputError

METHODS = ("spectral", "reset", "interpolate", "task-arithmetic")


@dataclass(frozen=True)
class Recipe:
    """One repaired checkpoint."""

    method: str = "spectral"
    """spectral: restore singular directions or values, matrix by matrix; reset: copy whole layers of the
    source; interpolate: (1 - weight) T + weight S; task-arithmetic: T + weight (S - base). The last two work
    on every tensor of the chosen layers and, if those are all, on those outside them too."""
    restore: str = "directions"
    ranks: RankSpec = ALL_RANKS
    layers: LayerSpec = ALL_LAYERS
    modules: tuple[str, ...] | None = None
    """None: every matrix inside the layers."""
    taper: Amount | None = None
    weight: float = 1.0
    compat: bool = False

    def describe(self) -> dict[str, Any]:
        """The settings that matter for the method, as they are recorded."""
        settings: dict[str, Any] = {"method": self.method, "layers": self.layers.text}
        if self.method in ("interpolate", "task-arithmetic"):
            settings["weight"] = self.weight
        if self.method == "spectral":
            settings |= {"restore": self.restore, "ranks": self.ranks.text, "modules": self.modules}
            if self.taper is not None:
                settings["taper"] = self.taper.text
            if self.compat:
                settings["compat"] = True
        return settings

    @property
    def name(self) -> str:
        """A folder name: directions-top-20pct-layers-all."""
        text = {"spectral": f"{self.restore} {self.ranks.text}", "reset": "reset"}.get(
            self.method, f"{self.method} {self.weight}"
        )
        text = f"{text} layers {self.layers.text}"
        if self.modules is not None:
            text += f" modules {' '.join(self.modules)}"
        if self.taper is not None:
            text += f" taper {self.taper.text}"
        if self.compat:
            text += " compat"
        text = text.replace("%", "pct").replace("+", "and")
        return re.sub(r"[^\w.]+", "-", text)

    def cut(self, shape: tuple[int, int]) -> Cut:
        """What is done to a matrix of that shape."""
        ranks = min(shape)
        taper = 0 if self.taper is None else self.taper.of(ranks)
        return Cut(self.restore, self.ranks.intervals(ranks), taper)


def recipes_of(  # noqa: PLR0913 — the settings of a recipe
    *,
    method: str = "spectral",
    restore: Sequence[str] = (),
    ranks: Sequence[str] = (),
    layers: Sequence[str] = (),
    modules: Sequence[str] = (),
    taper: Sequence[str] = (),
    weight: Sequence[float] = (),
    compat: bool = False,
) -> list[Recipe]:
    """Every combination of what is given; what is not has its default, if there is one.

    Args:
        method: one of `METHODS`.
        restore: directions (default), values, both.
        ranks: as for `parse_ranks`.
        layers: as for `parse_layers`; all by default.
        modules: names joined by commas, each a choice of its own; by default every matrix of a layer.
        taper: as for `parse_amount`.
        weight: of the source.
        compat: what the paper's scripts do.

    Raises:
        InputError: what does not go together, or is missing, or asked for twice.
    """
    if method not in METHODS:
        raise InputError(f"method: expected {' or '.join(METHODS)}, found {method!r}")
    spectral, weighted = method == "spectral", method in ("interpolate", "task-arithmetic")
    given = {"restore": restore, "ranks": ranks, "modules": modules, "taper": taper, "compat": compat}
    for key, value in given.items():
        if value and not spectral:
            raise InputError(f"{key} does not go with method {method}")
    if weight and not weighted:
        raise InputError(f"weight does not go with method {method}")
    if spectral and not ranks:
        raise InputError("ranks is missing: 'top 20%', 'top 128', all, ...")
    if method == "reset" and not layers:
        raise InputError("layers is missing: 'first 25%', 0-6, ...")
    if weighted and not weight:
        raise InputError("weight is missing: the share of the source, such as 0.5")
    if compat and taper:
        raise InputError("taper does not go with compat")
    if unknown := [kind for kind in restore if kind not in RESTORE]:
        raise InputError(f"restore: expected {' or '.join(RESTORE)}, found {unknown[0]!r}")
    if bad := [w for w in weight if not math.isfinite(w)]:
        raise InputError(f"weight {bad[0]}: expected a number")
    recipes = [
        Recipe(
            method=method,
            restore=kind,
            ranks=parse_ranks(rank),
            layers=parse_layers(layer),
            modules=None if module is None else tuple(m.strip() for m in module.split(",")),
            taper=None if width is None else parse_amount(width),
            weight=share,
            compat=compat,
        )
        for kind, rank, layer, module, width, share in itertools.product(
            restore or ["directions"],
            ranks or ["all"],
            layers or ["all"],
            modules or [None],
            taper or [None],
            weight or [1.0],
        )
    ]
    if len(set(recipes)) < len(recipes):
        raise InputError("the same recipe is asked for twice")
    return recipes


@dataclass(frozen=True)
class Plan:
    """Which recipes (by number) change what."""

    recipes: Sequence[Recipe]
    matrices: Mapping[str, list[tuple[Matrix, tuple[int, ...]]]]
    """Tensor -> its matrices that are spliced, by whom."""
    whole: Mapping[str, tuple[int, ...]]
    """Tensor -> who replaces it as a whole."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Tensor that no recipe changes -> why."""


def make_plan(
    source: Mapping[str, StoredTensor],
    target: Checkpoint,
    family: Family,
    config: Mapping[str, Any],
    recipes: Sequence[Recipe],
) -> Plan:
    """Decide what happens to every tensor of the target.

    Args:
        source: the tensors of the source
        target: the checkpoint to change
        family: how both name their tensors
        config: the part of config.json that describes the language model
        recipes: what to make

    Raises:
        InputError: a layer or module that the model does not have, or nothing to change.
    """
    layer_of = {name: family.layer(name) for name in target.tensors}
    count = 1 + max((layer for layer in layer_of.values() if layer is not None), default=-1)
    if not count:
        raise InputError(f"{target.folder}: no tensor belongs to a layer; give --layer-prefix")
    layers = [recipe.layers.layers(count) for recipe in recipes]
    parts = {name: family.parts(name, stored.shape, config) for name, stored in target.tensors.items()}
    modules = {part.module for found in parts.values() for part in found}
    for recipe in recipes:
        if unknown := sorted(set(recipe.modules or ()) - modules):
            raise InputError(
                f"modules: this model has no {', '.join(unknown)}; allowed: {', '.join(sorted(modules))}"
            )

    matrices: dict[str, list[tuple[Matrix, tuple[int, ...]]]] = {}
    whole: dict[str, tuple[int, ...]] = {}
    skipped: dict[str, str] = {}
    for name, stored in target.tensors.items():
        theirs = source.get(name)
        if stored.dtype not in FLOATS or theirs is None or theirs.dtype not in FLOATS:
            skipped[name] = (
                "not in the source" if theirs is None else f"no floating-point tensor ({stored.dtype})"
            )
            continue
        if theirs.shape != stored.shape:
            skipped[name] = f"shape {list(theirs.shape)} in the source, {list(stored.shape)} in the target"
            continue
        spliced = [
            (part, mine)
            for part in parts[name]
            if (mine := tuple(i for i, r in enumerate(recipes) if _wants(r, part, layers[i])))
        ]
        copied = tuple(i for i, r in enumerate(recipes) if _wants_whole(r, layer_of[name], layers[i], count))
        if spliced:
            matrices[name] = spliced
        if copied:
            whole[name] = copied
        if not spliced and not copied:
            skipped[name] = "not chosen" if parts[name] else "no matrix of a layer"
    if not matrices and not whole:
        raise InputError(f"nothing to change: no tensor of {target.folder} is chosen")
    return Plan(recipes, matrices, whole, skipped)


def _wants(recipe: Recipe, part: Matrix, layers: frozenset[int]) -> bool:
    if recipe.method != "spectral" or (part.layer is not None and part.layer not in layers):
        return False
    return part.layer is not None if recipe.modules is None else part.module in recipe.modules


def _wants_whole(recipe: Recipe, layer: int | None, layers: frozenset[int], count: int) -> bool:
    if recipe.method == "spectral":
        return False
    return layer in layers or (recipe.method != "reset" and layer is None and len(layers) == count)


def check_pair(source: Checkpoint, target: Checkpoint, family: Family) -> None:
    """See that two checkpoints are two states of one model.

    Only tensors outside the layers may differ in shape (added tokens), and only those may be missing from
    the source (an output layer tied to the embeddings).

    Raises:
        InputError: they are not.
    """
    for key in ("model_type", "architectures"):
        ours, theirs = target.config.get(key), source.config.get(key)
        if ours != theirs:
            raise InputError(
                f"different architectures: {key} is {theirs} in {source.folder}, {ours} in {target.folder}"
            )
    for name in (*target.tensors, *source.tensors):
        for here, there in ((target, source), (source, target)):
            if name not in there.tensors and not family.is_head(name):
                raise InputError(f"{there.folder}: {name} is missing, which {here.folder} has")
        if family.layer(name) is None:
            continue
        shapes = [list(checkpoint.tensors[name].shape) for checkpoint in (source, target)]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"different architectures: {name} is {shapes[0]} in {source.folder}, "
                f"{shapes[1]} in {target.folder}"
            )
