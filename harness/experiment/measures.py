"""A reproduction's records by the part they play, and measures over its seeds.

Pure: manifest and records in, values out. What the paper claims, and whether it holds, is in `findings`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from points24.harness.analysis.comparison import terms_of
from points24.harness.analysis.curve import Curve, curve, is_one_of, run_of
from points24.harness.analysis.foretelling import Shifts, shifts_of
from points24.harness.analysis.recovery import Recovered, Recovery, recoveries
from points24.harness.analysis.statistics import Interval
from points24.harness.experiment.config import RL
from points24.harness.experiment.manifest import STARTS, Drift, Manifest, Seed
from points24.harness.experiment.values import Value, gain, less, ratio, spread_interval
from points24.harness.records.record import Record
from points24.harness.records.shift import ShiftRecord
from points24.tasks.cards import TARGET
from points24.tasks.errors import InputError
from points24.tasks.verdict import FILTERS, FLEXIBLE, STRICT

_RULES = {
    **dict.fromkeys(("id", "id_heldout", "face_id", "contradiction", "five_cards"), "id"),
    **dict.fromkeys(("ood", "ood_heldout", "plain_ood"), "ood"),
}
"""Hand set -> the rule that it is played under here, to reach 24."""


@dataclass(frozen=True)
class Measure:
    """One number over the seeds."""

    name: str
    unit: str
    """``points``: a difference of accuracies. ``percent``: a share. ``number``."""
    values: tuple[Value | None, ...]
    """One per seed; None where it is not defined or was not measured."""

    @property
    def complete(self) -> list[Value]:
        """The values, if every seed has one that is bounded; otherwise none."""
        found = [value for value in self.values if value is not None and not value.is_unbounded]
        return found if len(found) == len(self.values) else []

    @property
    def mean(self) -> float | None:
        """Over the seeds; None unless every seed has a value that is bounded."""
        values = self.complete
        return sum(value.share for value in values) / len(values) if values else None

    @property
    def over_seeds(self) -> Interval | None:
        """95 % interval of the mean by Student's t; None for one seed, or if all agree."""
        return spread_interval([value.share for value in self.complete])

    @property
    def over_deals(self) -> Interval | None:
        """95 % interval of these seeds' mean over the deals: of one seed its own, of several Student's t."""
        values = self.complete
        if len(values) == 1:
            return values[0].interval
        deals = [value.deals for value in values if value.deals is not None]
        if not deals or len(deals) < len(values):
            return None
        return spread_interval(np.mean(deals, axis=0).tolist())

    @property
    def interval(self) -> Interval | None:
        """The interval to show with the mean: over the seeds, or else over the deals."""
        return self.over_seeds or self.over_deals

    @property
    def intervals(self) -> list[Interval]:
        """Those that exist: over the seeds, over the deals."""
        return [found for found in (self.over_seeds, self.over_deals) if found is not None]

    def is_above(self, bound: float) -> bool:
        """Whether there is an interval and every one lies above the bound."""
        return bool(self.intervals) and all(found.low > bound for found in self.intervals)

    def is_not_above(self, bound: float) -> bool:
        """Whether there is an interval and every one ends at the bound or below."""
        return bool(self.intervals) and all(found.high <= bound for found in self.intervals)

    def is_below(self, bound: float) -> bool:
        """Whether there is an interval and every one ends below the bound."""
        return bool(self.intervals) and all(found.high < bound for found in self.intervals)

    def minus(self, other: Measure, name: str) -> Measure:
        """The difference, seed by seed."""
        pairs = zip(self.values, other.values, strict=True)
        return Measure(name, self.unit, tuple(less(a, b) for a, b in pairs))


@dataclass(frozen=True)
class Reproduction:
    """The records of a reproduction, by seed and part."""

    manifest: Manifest
    records: dict[tuple[str, str, str], Record]
    """(model or label, hand set, filter) -> record; of one protocol for each hand set and filter."""
    curves: tuple[dict[str, Curve], ...]
    """For each seed: filter -> SFT curve, with the base as step 0."""
    recoveries: tuple[Recovery | None, ...]
    """For each seed: the checkpoints recovered from the best OOD checkpoint into the final one, strict."""
    reverses: tuple[dict[str, Recovery], ...]
    """For each seed: start -> the final PPO checkpoint with parts of the final SFT checkpoint, strict."""
    shifts: Shifts
    """Of the SFT runs; empty where they were not measured."""

    @property
    def seeds(self) -> tuple[Seed, ...]:
        return self.manifest.seeds

    @property
    def starts(self) -> list[str]:
        """Those of `STARTS` that PPO was run from."""
        return self.starts_of("ppo")

    def starts_of(self, trainer: str) -> list[str]:
        """Those of `STARTS` that ``ppo`` or ``grpo`` was run from."""
        return [start for start in STARTS if start in self.seeds[0].runs(trainer)]

    def parts(self, seed: Seed) -> dict[str, str]:
        """What tables call a seed's checkpoints -> model."""
        finals = {
            f"{trainer.upper()} final, {start} start": seed.runs(trainer)[start].final
            for trainer in RL
            for start in self.starts_of(trainer)
        }
        return {"base": self.manifest.base, "best OOD": seed.best_ood, "SFT final": seed.final} | finals

    def find(self, model: str, hand_set: str, name: str = STRICT) -> Record | None:
        """The record of a model on a hand set under a filter."""
        return self.records.get((model, hand_set, name))

    def get(self, model: str, hand_set: str, name: str = STRICT) -> Record:
        """As `find`.

        Raises:
            InputError: there is no such record.
        """
        if found := self.find(model, hand_set, name):
            return found
        raise InputError(f"reproduction: no record of {model} on hand set {hand_set} under {name}")

    def score(self, place: int, part: str, hand_set: str) -> Record | None:
        """The strict record of a checkpoint of the seed at that place, on hand set id or ood.

        `part` is one of `parts`, ``PPO start, early`` for what PPO starts from, or the label of a recipe.
        """
        seed = self.seeds[place]
        models = self.parts(seed) | {
            f"{trainer.upper()} start, {start}": run.start
            for trainer in RL
            for start, run in seed.runs(trainer).items()
        }
        if part in models:
            return self.get(models[part], hand_set)
        checkpoint = self.recovered(place, part)
        score = checkpoint and (checkpoint.ood if hand_set == "ood" else checkpoint.id)
        return score and score.record

    def recovered(self, place: int, label: str, reverse: str | None = None) -> Recovered | None:
        """A seed's recovered checkpoint by the label of its recipe, or one of the reverse of a start."""
        found = self.recoveries[place] if reverse is None else self.reverses[place].get(reverse)
        return next((r for r in found.checkpoints if r.recipe.label == label), None) if found else None

    def recipes(self) -> list[str]:
        """The labels of all recipes: kind by kind, and the best mean over the seeds first.

        By harmonic mean, or recovered share where nothing is retained, then by OOD accuracy. The kind with
        the best recipe comes first.
        """
        means: dict[str, list[tuple[float, float]]] = {}
        kinds: dict[str, str] = {}
        for each in self.recoveries:
            for checkpoint in each.checkpoints if each else ():
                label, shares = checkpoint.recipe.label, checkpoint.shares
                merit = shares.harmonic or shares.recovered
                means.setdefault(label, []).append((merit.value if merit else 0, checkpoint.ood.share))
                kinds[label] = checkpoint.recipe.method.kind
        rank = {
            label: (*(-fmean(values) for values in zip(*each, strict=True)), label)
            for label, each in means.items()
        }
        best = {kind: min(rank[label] for label in rank if kinds[label] == kind) for kind in kinds.values()}
        return sorted(rank, key=lambda label: (best[kinds[label]], rank[label]))

    def over_seeds(
        self, name: str, unit: str, value: Callable[[int, Seed], Value | None], seeds: int | None = None
    ) -> Measure:
        """A measure from a function of a seed's place and names; of the first so many seeds."""
        chosen = list(enumerate(self.seeds))[:seeds]
        return Measure(name, unit, tuple(value(i, seed) for i, seed in chosen))

    def drift(self, seed: Seed, first: str, checkpoint: str) -> Drift | None:
        """The drift from one model to another."""
        wanted = (seed.seed, first, checkpoint)
        return next((d for d in self.manifest.drift if (d.seed, d.first, d.checkpoint) == wanted), None)

    def drift_pairs(self) -> dict[str, list[Drift]]:
        """``best OOD → SFT final`` and so on -> the drift from one to the other, of each seed that has it."""
        wanted = [("base", "best OOD"), ("base", "SFT final"), ("best OOD", "SFT final")]
        wanted += [("best OOD", f"PPO final, {start} start") for start in self.starts]
        pairs: dict[str, list[Drift]] = {}
        for first, last in wanted:
            each = [self.drift(seed, self.parts(seed)[first], self.parts(seed)[last]) for seed in self.seeds]
            if drifts := [drift for drift in each if drift is not None]:
                pairs[f"{first} → {last}"] = drifts
        return pairs

    def drift_over_steps(self, first: str) -> list[tuple[int, dict[int, Drift]]]:
        """For each seed: the step of a part, and SFT step -> the drift from that part to there."""
        every = []
        for seed, curves in zip(self.seeds, self.curves, strict=True):
            start = self.get(self.parts(seed)[first], "ood").model
            models = {r.model: step for step, r in curves[STRICT].ood.items()}
            drifts = {step: self.drift(seed, start, model) for model, step in models.items()}
            known = {step: drift for step, drift in drifts.items() if drift is not None}
            every.append((models.get(start, 0), known))
        return every


def reproduction_of(
    manifest: Manifest, records: Iterable[Record], shifts: Iterable[ShiftRecord] = ()
) -> Reproduction:
    """The records that a manifest speaks of.

    Where a checkpoint has several, the record of its own run counts, which names its stage, and of these the
    newest. Each hand set is played by the protocol of the first seed's final SFT checkpoint; records of other
    protocols are left out.

    Raises:
        InputError: a record that every report needs is missing, or an SFT run has another base.
    """
    every = sorted(records, key=lambda r: (r.stage is not None, r.date or "", r.key))
    own = [
        r
        for r in every
        if (r.rule, r.target) == (_RULES.get(r.hand_set), TARGET)
        and (r.status, r.attempts) == ("measured", 1)
    ]
    final = manifest.seeds[0].final
    protocols = {(r.hand_set, r.filter): terms_of(r) for r in own if final in (r.model, r.label)}
    own = [r for r in own if protocols.get((r.hand_set, r.filter)) == terms_of(r)]
    chosen = {(r.model, r.hand_set, r.filter or ""): r for r in own}
    found = {(r.label, r.hand_set, r.filter or ""): r for r in chosen.values()} | chosen
    pairs = recoveries([r for r in own if r.filter == STRICT])
    strict = {(each.source.name, each.target.name): each for each in reversed(pairs)}
    made = Reproduction(
        manifest,
        found,
        (),
        tuple(strict.get((seed.best_ood, seed.final)) for seed in manifest.seeds),
        tuple(
            {
                start: strict[ends]
                for start, run in seed.ppo.items()
                if (ends := (seed.final, run.final)) in strict
            }
            for seed in manifest.seeds
        ),
        shifts_of(shifts, own),
    )
    for seed in manifest.seeds:
        _check(made, seed)
    played = list(chosen.values())
    curves = tuple(
        {name: _curve(played, seed, manifest.base, name) for name in FILTERS} for seed in made.seeds
    )
    for each in curves:
        for record in each[STRICT].ood.values():
            made.get(record.model, "ood", FLEXIBLE)
    return replace(made, curves=curves)


def _check(made: Reproduction, seed: Seed) -> None:
    """Raise `InputError` unless the records that every report needs are there."""
    for hand_set in ("id", "ood"):
        for model in (made.manifest.base, seed.best_ood, seed.final):
            for name in FILTERS:
                made.get(model, hand_set, name)
        for run in (run for trainer in RL for run in seed.runs(trainer).values()):
            for model in (run.start, run.final):
                made.get(model, hand_set)


def _curve(own: Sequence[Record], seed: Seed, base: str, name: str) -> Curve:
    # Records without a stage are of `eval`: hand sets that the run itself did not score.
    run = [r for r in own if run_of(r)[0] == seed.sft and r.stage]
    start = [r for r in own if base in (r.model, r.label)]
    parents = {r.parent for r in run if r.parent}
    if not any(is_one_of(r, parents) for r in start):
        shown = ", ".join(sorted(parents)) or "none"
        raise InputError(f"reproduction: {seed.sft}: expected the parent {base}, found {shown}")
    return curve([*start, *run], name)


def gain_of(found: Reproduction, name: str, part: str, other: str, hand_set: str = "ood") -> Measure:
    """Accuracy of a part less that of another; see `Reproduction.score` for their names."""

    def of(place: int, _: Seed) -> Value | None:
        return gain(found.score(place, part, hand_set), found.score(place, other, hand_set))

    return found.over_seeds(name, "points", of)


def ratio_of(found: Reproduction, name: str, part: str, target: str) -> Measure:
    """The share of the target's OOD loss against the best OOD checkpoint that a part recovers."""

    def of(place: int, _: Seed) -> Value | None:
        return ratio(*(found.score(place, each, "ood") for each in (part, "best OOD", target)))

    return found.over_seeds(name, "percent", of)


def drift_of(
    found: Reproduction, name: str, unit: str, first: str, number: Callable[[Drift], float]
) -> Measure:
    """A number of the drift from a part to the final SFT checkpoint."""

    def of(_: int, seed: Seed) -> Value | None:
        drift = found.drift(seed, found.parts(seed)[first], seed.final)
        return drift and Value(number(drift))

    return found.over_seeds(name, unit, of)
