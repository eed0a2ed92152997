"""What recipes mean for every tensor of a pair of checkpoints."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from points24.harness.checkpoints.folder import StoredTensor
from points24.harness.checkpoints.read import BUFFER, FLOATS, Checkpoint, plain_name
from points24.harness.recovery.families.family import Family, Matrix
from points24.harness.recovery.families.table import SPLITS, family_of, text_config
from points24.harness.recovery.recipe import Recipe
from points24.tasks.errors import InputError


@dataclass(frozen=True)
class Plan:
    """Which recipes (by number) change what."""

    recipes: Sequence[Recipe]
    matrices: Mapping[str, list[tuple[Matrix, tuple[int, ...]]]]
    """Tensor -> its matrices, each with the recipes that restore something in it."""
    whole: Mapping[str, tuple[int, ...]]
    """Tensor -> the recipes that replace it as a whole."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Tensor that no recipe changes -> why."""
    layer_of: Mapping[str, int | None] = field(default_factory=dict)
    """Tensor -> its layer."""
    layers: int = 0
    """How many layers the target has."""

    def recipes_for(self, tensor: str) -> list[int]:
        """The recipes that change something in a tensor."""
        inside = (i for _, mine in self.matrices.get(tensor, ()) for i in mine)
        return sorted({*inside, *self.whole.get(tensor, ())})


def family_for(
    config: Mapping[str, Any], layer_prefix: str | None, recipes: Sequence[Recipe], split: Sequence[str] = ()
) -> Family:
    """`family_of`, or one without layers where no recipe has to know them: any model can be interpolated.

    Raises:
        InputError: see `family_of`.
    """
    try:
        return family_of(config, layer_prefix, split)
    except InputError:
        if layer_prefix is not None or split or any(recipe.reads_layers for recipe in recipes):
            raise
        return Family(layers=r"(?!)")


def make_plan(
    source: Checkpoint,
    target: Checkpoint,
    family: Family,
    recipes: Sequence[Recipe],
) -> Plan:
    """Decide what happens to every tensor of the target.

    Raises:
        InputError: a layer or module that the model does not have, or nothing to change.
    """
    layer_of = {name: family.layer(name) for name in target.tensors}
    count = 1 + max((layer for layer in layer_of.values() if layer is not None), default=-1)
    if not count and any(recipe.reads_layers for recipe in recipes):
        raise InputError(f"{target.folder}: no tensor belongs to a layer; give --layer-prefix")
    chosen = [(recipe.method, recipe.layers.layers(count)) for recipe in recipes]
    config = text_config(target.config)
    parts = {name: family.parts(name, stored.shape, config) for name, stored in target.tensors.items()}
    _check_modules(recipes, {name for found in parts.values() for part in found for name in part.names})

    matrices: dict[str, list[tuple[Matrix, tuple[int, ...]]]] = {}
    whole: dict[str, tuple[int, ...]] = {}
    skipped: dict[str, str] = {}
    for name, stored in target.tensors.items():
        if why := _unfit(source.tensors.get(name), stored):
            skipped[name] = why
            continue
        if any(m.changes_matrix(frozenset(), layer_of[name], layers) for m, layers in chosen):
            check_clear(target, name, family)
        spliced = [
            (part, mine)
            for part in parts[name]
            if (mine := _those(m.changes_matrix(part.names, part.layer, layers) for m, layers in chosen))
        ]
        names = frozenset(itertools.chain.from_iterable(part.names for part in parts[name]))
        copied = _those(m.changes_tensor(names, layer_of[name], layers, count) for m, layers in chosen)
        if spliced:
            matrices[name] = spliced
        if copied:
            whole[name] = copied
        if not spliced and not copied:
            skipped[name] = "not chosen" if parts[name] else "no matrix of a layer"
    if not matrices and not whole:
        raise InputError(f"nothing to change: no tensor of {target.folder} is chosen")
    return Plan(recipes, matrices, whole, skipped, layer_of, count)


def check_clear(checkpoint: Checkpoint, tensor: str, family: Family) -> None:
    """Check that it is known which matrices a tensor holds.

    Raises:
        InputError: it is not.
    """
    if family.is_unclear(tensor, shape := checkpoint.tensors[tensor].shape):
        raise InputError(
            f"{checkpoint.folder}: {tensor} {list(shape)} may be one matrix, several or none; "
            f"give --split NAME=LAYOUT with the end of its name and one of {', '.join(SPLITS)}"
        )


def _check_modules(recipes: Sequence[Recipe], modules: set[str]) -> None:
    for recipe in recipes:
        if unknown := sorted(set(recipe.method.modules or ()) - modules):
            raise InputError(
                f"modules: this model has no {', '.join(unknown)}; allowed: {', '.join(sorted(modules))}"
            )


def _unfit(source: StoredTensor | None, target: StoredTensor) -> str | None:
    """Why no recipe can change a tensor; None if one can."""
    if source is None:
        return "not in the source"
    if target.dtype not in FLOATS or source.dtype not in FLOATS:
        return f"no floating-point tensor ({target.dtype})"
    if source.shape != target.shape:
        return f"shape {list(source.shape)} in the source, {list(target.shape)} in the target"
    return None


def _those(wanted: Iterable[bool]) -> tuple[int, ...]:
    """The numbers of the recipes that want something."""
    return tuple(i for i, is_wanted in enumerate(wanted) if is_wanted)


def check_pair(source: Checkpoint, target: Checkpoint, family: Family) -> Checkpoint:
    """Check that two checkpoints are two states of one model.

    Only tensors outside the layers may differ in shape (added tokens). Only those may be missing on one side
    (an output layer tied to the embeddings), and buffers, which are no weights.

    Returns:
        The source, with its tensors under the names that the target gives them: one may have been saved with
        another container (``h.0.…`` and ``transformer.h.0.…``).

    Raises:
        InputError: they are not.
    """
    for key in ("model_type", "architectures"):
        ours, theirs = target.config.get(key), source.config.get(key)
        if ours != theirs and (key == "model_type" or (ours and theirs)):
            raise InputError(
                f"different architectures: {key} is {theirs} in {source.folder}, {ours} in {target.folder}"
            )
    source = _renamed(source, target)
    for name in (*target.tensors, *source.tensors):
        for here, there in ((target, source), (source, target)):
            if name not in there.tensors and not family.is_head(name) and not BUFFER.search(name):
                raise InputError(f"{there.folder}: {name} is missing, which {here.folder} has")
        if family.layer(name) is None or name not in source.tensors or name not in target.tensors:
            continue
        shapes = [list(checkpoint.tensors[name].shape) for checkpoint in (source, target)]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"different architectures: {name} is {shapes[0]} in {source.folder}, "
                f"{shapes[1]} in {target.folder}"
            )
    return source


def _renamed(source: Checkpoint, target: Checkpoint) -> Checkpoint:
    """The source with the target's names, where these differ in the containers alone."""
    theirs = {plain_name(name): name for name in source.tensors}
    ours = {plain_name(name): name for name in target.tensors}
    if len(theirs) < len(source.tensors) or len(ours) < len(target.tensors):
        return source  # a plain name does not tell them apart
    tensors = {ours.get(plain, name): source.tensors[name] for plain, name in theirs.items()}
    renamed = {name: ours.get(plain, name) for plain, name in theirs.items()}
    updates = {renamed[name]: update for name, update in source.updates.items()}
    replaced = {renamed[name]: tensor for name, tensor in source.replaced.items()}
    return replace(source, tensors=tensors, updates=updates, replaced=replaced)
