"""What recipes make of a tensor of the target, given the source's: one pair of tensors in memory at a time.

Any number of recipes is followed at once. Factorising a matrix pair takes most of the time, so all recipes
share the factors, and recipes that make the same cut of a matrix share the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from points24.harness.checkpoints.digest import weights_digest
from points24.harness.checkpoints.opening import open_checkpoint
from points24.harness.checkpoints.read import Checkpoint
from points24.harness.checkpoints.write import left_out
from points24.harness.recovery.combine import combined, facts_about
from points24.harness.recovery.families.family import Family, Matrix
from points24.harness.recovery.methods.method import Method, UpdateFilter, Versions
from points24.harness.recovery.plan import Plan, check_pair, make_plan
from points24.harness.recovery.recipe import Recipe, check_needs
from points24.harness.recovery.specs import Cut, Interval
from points24.harness.recovery.spectral.factors import Factorise, Factors, factorise, row_chunks
from points24.harness.recovery.spectral.splice import (
    Change,
    Factored,
    Put,
    splice,
    wanted_ranks,
)
from points24.harness.recovery.spectral.update import Update
from points24.tasks.errors import InputError


class Sink(Protocol):
    """What takes the changes of a checkpoint: a copy on disk, or a tensor in memory."""

    def dtype(self, name: str) -> torch.dtype:
        """In which a tensor is wanted."""
        ...

    def write(self, name: str, rows: Tensor, starts: Tensor | None = None, step: int = 1) -> None:
        """Replace a tensor, or rows of it, (count, width), that start at these elements, with a step."""
        ...


@dataclass(frozen=True)
class CheckedPair:
    """Checked checkpoints and what to do with them."""

    source: Checkpoint
    target: Checkpoint
    base: Checkpoint | None
    """The common ancestor, which some methods need."""
    plan: Plan
    others: tuple[Checkpoint, ...] = ()
    """Further checkpoints, which some methods need."""

    @classmethod
    def open(  # noqa: PLR0913 — the checkpoints, and what to do with them
        cls,
        source: Path,
        target: Path,
        recipes: Sequence[Recipe],
        family: Family,
        base: Path | None = None,
        *,
        others: Sequence[Path] = (),
    ) -> CheckedPair:
        """Read headers, compare the checkpoints, and verify their digests.

        Raises:
            InputError: see `open_checkpoint`, `check_pair` and `make_plan`.
        """
        check_needs(recipes, base, others)
        if others:
            _refuse_same(source, target, *others)
        b, t = open_checkpoint(source), open_checkpoint(target)
        ancestor = open_checkpoint(base) if base else None
        more = tuple(map(open_checkpoint, others))
        for checkpoint in filter(None, (b, t, *more)):
            check_base(checkpoint, ancestor)
        b = check_pair(b, t, family)
        ancestor = ancestor and check_pair(ancestor, t, family)
        more = tuple(check_pair(other, t, family) for other in more)
        plan = make_plan(b, t, family, recipes)
        for name in (*plan.matrices, *plan.whole):
            methods = [recipes[i].method for i in plan.recipes_for(name)]
            needed = [ancestor] if any(method.needs_base for method in methods) else []
            needed += more if any(method.needs_others for method in methods) else ()
            for checkpoint in filter(None, needed):
                theirs = checkpoint.tensors.get(name)
                if theirs is None or theirs.shape != t.tensors[name].shape:
                    raise InputError(f"{checkpoint.folder}: {name} is missing or of another shape")
        for checkpoint in filter(None, (b, t, ancestor, *more)):
            checkpoint.verify()
        return cls(b, t, ancestor, plan, more)

    def versions(self, name: str, source: Tensor, target: Tensor, methods: Mapping[int, Method]) -> Versions:
        """A tensor as each checkpoint has it that these methods need."""
        with_base = any(how.needs_base for how in methods.values())
        with_others = any(how.needs_others for how in methods.values())
        return Versions(
            name,
            self.plan.layer_of.get(name),
            self.plan.layers,
            source.double(),
            target.double(),
            self.base.read(name).double() if self.base and with_base else None,
            tuple(partial(_read_double, other, name) for other in self.others) if with_others else (),
        )


def _read_double(checkpoint: Checkpoint, name: str) -> Tensor:
    return checkpoint.read(name).double()


def check_base(checkpoint: Checkpoint, base: Checkpoint | None) -> None:
    """Check that an adapter was trained on the base that is given, by the digests of their weights.

    Raises:
        InputError: it was not.
    """
    if checkpoint.adapter is None or base is None or checkpoint.folder == base.folder:
        return
    if weights_digest(checkpoint.folder) != weights_digest(base.given):
        raise InputError(
            f"{checkpoint.adapter}: trained on another base: {checkpoint.folder} by its configuration, "
            f"{base.given} is given"
        )


def _refuse_same(*folders: Path) -> None:
    seen: set[Path] = set()
    for folder in map(Path.resolve, folders):
        if folder in seen:
            raise InputError(f"others: {folder} counts twice; expected checkpoints that differ")
        seen.add(folder)


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
    methods = {i: pair.plan.recipes[i].method for i in pair.plan.recipes_for(name) if i in sinks}
    if not methods:
        return
    target, source = pair.target.read(name), pair.source.read(name)
    if torch.equal(target, source):  # the target's values are there already, for most methods
        methods = {i: how for i, how in methods.items() if not how.leaves_equal}
    made = combined(partial(pair.versions, name, source, target, methods), methods)
    place = {"tensor": name, "module": None, "layer": pair.plan.layer_of.get(name)}
    for i in (i for i in pair.plan.whole.get(name, ()) if i in made):
        rounded = made[i].to(sinks[i].dtype(name))
        sinks[i].write(name, rounded)
        reports[i]["tensors"].append(place | facts_about(source, target, made[i], rounded))
    for part, wanted in pair.plan.matrices.get(name, ()):
        t, b = part.matrix(target), part.matrix(source)
        starts = part.row_starts(target.shape)
        place = {"tensor": part.tensor, "module": part.module, "layer": part.layer}
        for i in (i for i in wanted if i in made):
            exact = part.matrix(made[i])
            rounded = exact.to(sinks[i].dtype(name))
            sinks[i].write(name, rounded, starts, part.step)
            reports[i]["tensors"].append(place | facts_about(b, t, exact, rounded))

        if spectral := {i: methods[i] for i in wanted if i in methods and i not in made}:
            dtype, put = sinks[min(spectral)].dtype(name), _put_into(sinks, part, starts)
            try:
                facts = _in_matrix(
                    b.to(device), t.to(device), spectral, dtype=dtype, put=put, factors_of=factors_of
                )
            except ValueError as e:
                raise InputError(f"{name}: {e}") from e
            for i in spectral:
                reports[i]["matrices"].append(place | facts[i])


def _put_into(sinks: Mapping[int, Sink], part: Matrix, starts: Tensor) -> Put:
    """Gives sinks what becomes of parts of a matrix whose rows start at these elements of its tensor."""

    def put(i: int, rows: slice, columns: slice, values: Tensor) -> None:
        first = starts[rows] + (columns.start or 0) * part.step
        sinks[i].write(part.tensor, values, first, part.step)

    return put


def _in_matrix(  # noqa: PLR0913 — a pair, what to do with it, and how
    b: Tensor,
    t: Tensor,
    methods: Mapping[int, Method],
    *,
    dtype: torch.dtype,
    put: Put,
    factors_of: Factorise,
) -> dict[int, dict[str, Any]]:
    """Let methods change one pair of matrices; facts about each by the recipe's number, which `put` gets."""
    filters = {i: how for i, how in methods.items() if isinstance(how, UpdateFilter)}
    cuts = {i: how.cut(min(t.shape)) for i, how in methods.items() if i not in filters}
    facts = _splice(b, t, cuts, dtype=dtype, put=put, factors_of=factors_of) if cuts else {}
    if filters:
        update = Update.of(b, t, factors_of)
        for i, how in filters.items():
            exact, kept = update.keep(how.kept)
            rounded = exact.to(dtype)
            put(i, slice(None), slice(None), rounded)
            facts[i] = facts_about(b, t, exact, rounded) | kept
    return facts


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
        "tensors": [],
        "skipped": dict(pair.plan.skipped),
        "left_out": left_out(pair.target),
    }


def summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """Over all matrices and tensors of a report: root sums of squares for norms, the smallest gap, counts."""
    matrices, tensors = report["matrices"], report["tensors"]
    both = [*matrices, *tensors]

    def total(key: str) -> float:
        return sum(m[key] ** 2 for m in both) ** 0.5

    cuts = [cut for m in matrices for cut in m["cuts"]]
    gaps = [gap for cut in cuts for whose, gap in cut.items() if whose != "k" and gap is not None]
    edit, distance = total("edit"), total("distance")
    lost = sum((m["lost_to_rounding"] * m["edit"]) ** 2 for m in both) ** 0.5
    return {
        "matrices": len(matrices),
        "tensors": len(tensors),
        "edit_of_distance": edit / distance if distance else 0.0,
        "lost_to_rounding": lost / edit if edit else 0.0,
        "smallest_gap": min(gaps, default=None),
        "null": sum(sum(m["null"].values()) for m in matrices),
    }
