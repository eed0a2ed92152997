"""What recipes make of a tensor of the target, given the source's: one pair of tensors in memory at a time.

Any number of recipes is followed at once. Factorising a matrix pair takes most of the time, so all recipes
share the factors, and recipes that make the same cut of a matrix share the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from points24.harness.checkpoints.read import Checkpoint, open_checkpoint
from points24.harness.checkpoints.write import left_out
from points24.harness.recovery.architecture import Family
from points24.harness.recovery.plan import Plan, check_pair, make_plan
from points24.harness.recovery.recipe import Recipe
from points24.harness.recovery.specs import Cut, Interval
from points24.harness.recovery.spectral.factors import Factors, factorise, row_chunks
from points24.harness.recovery.spectral.splice import (
    Change,
    Factored,
    Put,
    splice,
    wanted_ranks,
)
from points24.tasks.errors import InputError

Factorise = Callable[[Tensor, Interval], Factors]
"""(matrix, ranks whose vectors are wanted) -> its factors, with at least these vectors."""


class Sink(Protocol):
    """What takes the changes of a checkpoint: a copy on disk, or a tensor in memory."""

    def dtype(self, name: str) -> torch.dtype:
        """In which a tensor is wanted."""
        ...

    def write(self, name: str, rows: Tensor, starts: Tensor | None = None) -> None:
        """Replace a tensor, or rows of it, (count, width), that start at these elements."""
        ...


@dataclass(frozen=True)
class CheckedPair:
    """Checked checkpoints and what to do with them."""

    source: Checkpoint
    target: Checkpoint
    base: Checkpoint | None
    """The common ancestor, which some methods need."""
    family: Family
    plan: Plan

    @classmethod
    def open(
        cls, source: Path, target: Path, recipes: Sequence[Recipe], family: Family, base: Path | None = None
    ) -> CheckedPair:
        """Read headers, compare the checkpoints, and verify their digests.

        Raises:
            InputError: see `open_checkpoint`, `check_pair` and `make_plan`.
        """
        b, t = open_checkpoint(source), open_checkpoint(target)
        ancestor = open_checkpoint(base) if base else None
        for other in filter(None, (b, ancestor)):
            check_pair(other, t, family)
        plan = make_plan(b, t, family, recipes)
        for name, mine in plan.whole.items():
            if needy := [recipes[i].method for i in mine if recipes[i].method.needs_base]:
                if ancestor is None:
                    raise InputError(f"{needy[0].name} needs base, the ancestor of the source")
                theirs = ancestor.tensors.get(name)
                if theirs is None or theirs.shape != t.tensors[name].shape:
                    raise InputError(f"{base}: {name} is missing or of another shape")
        for checkpoint in filter(None, (b, t, ancestor)):
            checkpoint.verify()
        return cls(b, t, ancestor, family, plan)


def change(  # noqa: PLR0913 — a pair, a part of it, and how
    pair: CheckedPair,
    name: str,
    sinks: Mapping[int, Sink],
    reports: Mapping[int, dict],
    *,
    device: torch.device,
    factors_of: Factorise = factorise,
) -> None:
    """Make the changes of some recipes to the tensor of that name.

    `sinks` has what takes the changes of each of these recipes, by the recipe's number. Facts about each
    matrix are added to the recipe's report.

    Raises:
        InputError: NaN or Inf in a weight.
    """
    parts = [
        (part, mine)
        for part, wanted in pair.plan.matrices.get(name, ())
        if (mine := [i for i in wanted if i in sinks])
    ]
    whole = [i for i in pair.plan.whole.get(name, ()) if i in sinks]
    if not whole and not parts:
        return
    target, source = pair.target.read(name), pair.source.read(name)
    if pair.base is None and torch.equal(target, source):  # the target's values are there already
        whole, parts = [i for i in whole if not pair.plan.recipes[i].method.keeps_equal], []
    for i in whole:
        method = pair.plan.recipes[i].method
        base = pair.base.read(name) if pair.base and method.needs_base else None
        changed = method.new_tensor(source, target, base)
        if not torch.isfinite(changed).all():
            raise InputError(f"{name}: NaN or infinite elements")
        sinks[i].write(name, changed.to(sinks[i].dtype(name)))
    for part, mine in parts:
        t, b = part.matrix(target).to(device), part.matrix(source).to(device)
        starts = part.row_starts(target.shape)

        def put(i: int, rows: slice, columns: slice, values: Tensor, starts: Tensor = starts) -> None:
            sinks[i].write(name, values, starts[rows] + (columns.start or 0))

        try:
            dtype = sinks[mine[0]].dtype(name)
            cuts = {i: pair.plan.recipes[i].method.cut(min(t.shape)) for i in mine}
            facts = _splice(b, t, cuts, dtype=dtype, put=put, factors_of=factors_of)
        except ValueError as e:
            raise InputError(f"{name}: {e}") from e
        place = {"tensor": part.tensor, "module": part.module, "layer": part.layer}
        for i in mine:
            reports[i]["matrices"].append(place | facts[i])


def _splice(  # noqa: PLR0913 — a pair, what to do with it, and how
    b: Tensor,
    t: Tensor,
    cuts: Mapping[int, Cut],
    *,
    dtype: torch.dtype,
    put: Put,
    factors_of: Factorise,
) -> dict[int, dict[str, Any]]:
    """Make the cuts of one pair of matrices, equal ones once, and return the facts about each.

    The keys of `cuts` are the recipes' numbers; so are those of the facts and what `put` is given.
    """
    sharing: dict[Cut, list[int]] = {}  # a cut -> the recipes that ask for it
    for i, cut in cuts.items():
        sharing.setdefault(cut, []).append(i)
    ours = list(sharing)  # by number, as `splice` counts them
    same = torch.equal(b, t)
    for_source, for_target = ((0, 0), (0, 0)) if same else wanted_ranks(ours, min(t.shape))
    factors = _factors(b, for_source, "source", factors_of), _factors(t, for_target, "target", factors_of)
    changes = dict.fromkeys(sharing, Change(0.0, 0.0))
    if not same:

        def put_shared(cut: int, *part: Any) -> None:
            for i in sharing[ours[cut]]:
                put(i, *part)

        made = splice(Factored(b, factors[0]), Factored(t, factors[1]), ours, dtype, put_shared)
        changes |= dict(zip(ours, made, strict=True))
    distance = distance_between(b, t)
    return {
        i: {
            "shape": list(t.shape),
            "cuts": _gaps(cut, *factors),
            "target_norm": torch.linalg.vector_norm(factors[1].values).item(),
            "distance": distance,
            "edit": changes[cut].edit,
            "edit_of_distance": changes[cut].edit / distance if distance else 0.0,
            "lost_to_rounding": changes[cut].lost / changes[cut].edit if changes[cut].edit else 0.0,
            "null": {"source": factors[0].null, "target": factors[1].null},
        }
        for i, cut in cuts.items()
    }


def distance_between(b: Tensor, t: Tensor) -> float:
    """Frobenius norm of T - B, in fp64, chunk by chunk."""
    # One running sum: a result kept from every chunk would fragment the memory that the chunks reuse.
    total = torch.zeros((), dtype=torch.float64, device=t.device)
    for i, rows in row_chunks(t):
        total += torch.linalg.vector_norm(rows - b[i : i + len(rows)]).square_()
    return total.sqrt_().item()


def _factors(matrix: Tensor, ranks: Interval, whose: str, factors_of: Factorise) -> Factors:
    try:
        return factors_of(matrix, ranks)
    except ValueError as e:
        raise ValueError(f"{e} in the {whose}") from e


def _gaps(cut: Cut, source: Factors, target: Factors) -> list[dict[str, Any]]:
    """The relative gap between the singular values at each cut: (s[k-1] - s[k]) / s[k-1]."""
    ranks = len(target.values)
    gaps = []
    for k in sorted({k for interval in cut.intervals for k in interval} - {0, ranks}):
        gap: dict[str, Any] = {"k": k}
        for whose, factors in (("source", source), ("target", target)):
            before, after = factors.values[k - 1 : k + 1].tolist()
            gap[whose] = (before - after) / before if before else None
        gaps.append(gap)
    return gaps


def new_report(pair: CheckedPair, recipe: Recipe) -> dict[str, Any]:
    """What is known of a recipe before anything is done."""
    return {
        "recipe": recipe.describe() | {"name": recipe.name},
        "matrices": [],
        "skipped": dict(pair.plan.skipped),
        "left_out": left_out(pair.target),
    }


def summary(matrices: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Over all matrices: root sums of squares for norms, the smallest gap, counts."""

    def total(key: str) -> float:
        return sum(m[key] ** 2 for m in matrices) ** 0.5

    gaps = [g for m in matrices for cut in m["cuts"] for g in (cut["source"], cut["target"]) if g is not None]
    edit, distance = total("edit"), total("distance")
    lost = sum((m["lost_to_rounding"] * m["edit"]) ** 2 for m in matrices) ** 0.5
    return {
        "matrices": len(matrices),
        "edit_of_distance": edit / distance if distance else 0.0,
        "lost_to_rounding": lost / edit if edit else 0.0,
        "smallest_gap": min(gaps, default=None),
        "null": sum(m["null"]["source"] + m["null"]["target"] for m in matrices),
    }
