"""Recovered checkpoints from a source and a target, one pair of tensors in memory at a time.

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
from tqdm import tqdm

from points24.harness.checkpoints.read import Checkpoint, open_checkpoint
from points24.harness.checkpoints.write import Copy, check_space, left_out
from points24.harness.files import new_folder
from points24.harness.recovery.architecture import Family, text_config
from points24.harness.recovery.card import model_card
from points24.harness.recovery.plan import Plan, check_pair, make_plan
from points24.harness.recovery.recipe import Recipe
from points24.harness.recovery.specs import Cut, Interval
from points24.harness.recovery.spectral.factors import Factors, factorise, row_chunks
from points24.harness.recovery.spectral.splice import (
    Change,
    Factored,
    Put,
    splice,
    splice_like_paper_scripts,
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
    plan: Plan

    @classmethod
    def open(
        cls, source: Path, target: Path, recipes: Sequence[Recipe], family: Family, base: Path | None = None
    ) -> CheckedPair:
        """Read headers, compare the checkpoints, and verify their digests.

        Raises:
            InputError: see `open_checkpoint`, `check_pair` and `make_plan`.
        """
        opened = [open_checkpoint(folder) for folder in (source, target, *([base] if base else []))]
        for other in (opened[0], *opened[2:]):
            check_pair(other, opened[1], family)
        plan = make_plan(opened[0].tensors, opened[1], family, text_config(opened[1].config), recipes)
        for name, mine in plan.whole.items():
            if needy := [recipes[i].method for i in mine if recipes[i].method.needs_base]:
                if base is None:
                    raise InputError(f"{needy[0].name} needs base, the ancestor of the source")
                theirs = opened[2].tensors.get(name)
                if theirs is None or theirs.shape != opened[1].tensors[name].shape:
                    raise InputError(f"{base}: {name} is missing or of another shape")
        for checkpoint in opened:
            checkpoint.verify()
        return cls(opened[0], opened[1], opened[2] if base else None, plan)


def recover(
    job: CheckedPair, out: Path, record: dict[str, Any], dtype: str | None, device: torch.device
) -> list[dict]:
    """Write every recipe's checkpoint: `out` itself, or a folder below it for each of several.

    Args:
        job: what to do
        out: a folder that does not exist
        record: where this comes from; becomes part of each folder's record
        dtype: of the output (F32, ...); None: the target's
        device: where to compute

    Returns:
        What was done and what to know about it, one report for each recipe; the folders carry them too.

    Raises:
        InputError: NaN or Inf in a weight, or `out` cannot be written (no room on the disk, say). Nothing is
            left behind.
    """
    recipes = job.plan.recipes
    for checkpoint in (job.source, job.target):
        if out.resolve().is_relative_to(checkpoint.folder):
            raise InputError(f"{out} lies inside {checkpoint.folder}; choose another output folder")
    check_space(job.target, out, len(recipes), dtype)
    reports = [new_report(job, recipe) for recipe in recipes]
    with new_folder(out) as partial:
        folders = [partial] if len(recipes) == 1 else [partial / recipe.name for recipe in recipes]
        copies = [Copy(job.target, folder, dtype) for folder in folders]
        names = [n for n in job.target.tensors if n in job.plan.matrices or n in job.plan.whole]
        for name in tqdm(names, "recover", unit="tensor", disable=None):
            change(job, name, dict(enumerate(copies)), reports, device=device)
        for copy, report in zip(copies, reports, strict=True):
            report["summary"] = summary(report["matrices"])
            copy.finish(record | report, model_card(record, report))
    return reports


def change(  # noqa: PLR0913 — a job, a part of it, and how
    job: CheckedPair,
    name: str,
    sinks: Mapping[int, Sink],
    reports: Sequence[dict],
    *,
    device: torch.device,
    factors_of: Factorise = factorise,
) -> None:
    """Make the changes of some recipes to one tensor.

    Args:
        job: what to do
        name: of the tensor
        sinks: number of a recipe -> what takes its changes; the other recipes are left out
        reports: of every recipe of the job; facts about each matrix are added to those of these recipes
        device: where to compute
        factors_of: factorises a matrix

    Raises:
        InputError: NaN or Inf in a weight.
    """
    parts = [
        (part, mine)
        for part, wanted in job.plan.matrices.get(name, ())
        if (mine := [i for i in wanted if i in sinks])
    ]
    whole = [i for i in job.plan.whole.get(name, ()) if i in sinks]
    if not whole and not parts:
        return
    target, source = job.target.read(name), job.source.read(name)
    if torch.equal(target, source) and job.base is None:
        return  # the target's values are there already
    for i in whole:
        changed = _new_tensor(job, job.plan.recipes[i], name, source, target)
        sinks[i].write(name, changed.to(sinks[i].dtype(name)))
    for part, mine in parts:
        t, b = part.matrix(target).to(device), part.matrix(source).to(device)
        starts = part.row_starts(target.shape)

        def put(i: int, rows: slice, columns: slice, values: Tensor, starts: Tensor = starts) -> None:
            sinks[i].write(name, values, starts[rows] + (columns.start or 0))

        try:
            dtype = sinks[mine[0]].dtype(name)
            cuts = {i: job.plan.recipes[i].method.cut(min(t.shape)) for i in mine}
            facts = _splice(b, t, cuts, dtype=dtype, put=put, factors_of=factors_of)
        except ValueError as e:
            raise InputError(f"{name}: {e}") from e
        for i in mine:
            place = {"tensor": part.tensor, "module": part.module, "layer": part.layer}
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
    ours = [cut for cut in sharing if not cut.paper_scripts]
    same = torch.equal(b, t)
    for_source, for_target = ((0, 0), (0, 0)) if same else wanted_ranks(ours, min(t.shape))
    factors = _factors(b, for_source, "source", factors_of), _factors(t, for_target, "target", factors_of)
    changes = dict.fromkeys(sharing, Change(0.0, 0.0))
    if not same:

        def put_shared(cut: int, *part: Any) -> None:
            for i in sharing[ours[cut]]:
                put(i, *part)

        pair = Factored(b, factors[0]), Factored(t, factors[1])
        made = splice(*pair, ours, dtype, put_shared) if ours else []
        changes |= dict(zip(ours, made, strict=True))
        for cut in (cut for cut in sharing if cut.paper_scripts):
            result, changes[cut] = splice_like_paper_scripts(b, t, cut, dtype)
            for i in sharing[cut] if changes[cut].edit > 0 else ():
                put(i, slice(None), slice(None), result)
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


def _new_tensor(job: CheckedPair, recipe: Recipe, name: str, source: Tensor, target: Tensor) -> Tensor:
    base = job.base.read(name) if job.base and recipe.method.needs_base else None
    result = recipe.method.new_tensor(source, target, base)
    if not torch.isfinite(result).all():
        raise InputError(f"{name}: NaN or infinite elements")
    return result


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


def new_report(job: CheckedPair, recipe: Recipe) -> dict[str, Any]:
    """What is known of a recipe before anything is done."""
    return {
        "recipe": recipe.describe() | {"name": recipe.name},
        "matrices": [],
        "skipped": dict(job.plan.skipped),
        "left_out": left_out(job.target),
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
