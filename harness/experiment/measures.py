"""A reproduction of the paper's experiment: its records by the part they play, and measures over its seeds.

Pure: manifest and records in, values out. What the paper claims and what holds is in `reproduction_findings`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from points24.harness.analysis.comparison import (
    Difference,
    Protocol,
    difference,
    hands_of,
    interval_of,
    protocol_of,
    recovered_share,
)
from points24.harness.analysis.curve import Curve, curve, is_one_of, run_of
from points24.harness.analysis.recovery import Recovered, Recovery, recoveries
from points24.harness.analysis.statistics import Interval, Paired, paired_interval, t_interval, wilson
from points24.harness.experiment.manifest import STARTS, Drift, Manifest, Seed
from points24.harness.records.record import Record
from points24.tasks.cards import has_face
from points24.tasks.errors import InputError
from points24.tasks.verdict import FILTERS, Verdict

STRICT, FLEXIBLE = FILTERS
_RULES = {"id": "id", "id_heldout": "id", "ood": "ood", "face_id": "id", "plain_ood": "ood"}
"""Hand set -> the rule it is played under here."""

Deals = NDArray[np.float64]


@dataclass(frozen=True)
class Value:
    """One number of one seed."""

    share: float
    interval: Interval | None = None
    """95 % over the deals."""
    deals: Deals | None = field(default=None, repr=False, compare=False)
    """A value per deal; `share` is their mean. For a ratio linearised: see `ratio`."""

    @property
    def is_unbounded(self) -> bool:
        """Of a ratio: whether its denominator cannot be told from 0, so that it may be anything."""
        return self.interval is None and self.deals is not None


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
        """The values, if every seed has one that is bounded; else none."""
        found = [value for value in self.values if value is not None and not value.is_unbounded]
        return found if len(found) == len(self.values) else []

    @property
    def mean(self) -> float | None:
        """Over the seeds; None unless every one has a value, and none is unbounded."""
        values = self.complete
        return sum(value.share for value in values) / len(values) if values else None

    @property
    def over_seeds(self) -> Interval | None:
        """95 % interval of the mean by Student's t; None for one seed."""
        return t_interval([value.share for value in self.complete])

    @property
    def over_deals(self) -> Interval | None:
        """95 % interval of the mean with these seeds: that of the seed, or by Student's t over the deals."""
        values = self.complete
        if len(values) == 1:
            return values[0].interval
        deals = [value.deals for value in values if value.deals is not None]
        if not deals or len(deals) < len(values):
            return None
        return t_interval(np.mean(deals, axis=0).tolist())

    @property
    def interval(self) -> Interval | None:
        """The one to show with the mean: over the seeds, or with one seed over the deals."""
        return self.over_seeds or self.over_deals

    @property
    def intervals(self) -> list[Interval]:
        """Those that there are: over the seeds, over the deals."""
        return [found for found in (self.over_seeds, self.over_deals) if found is not None]

    def is_above(self, bound: float) -> bool:
        """Whether every interval lies above; never without one."""
        return bool(self.intervals) and all(found.low > bound for found in self.intervals)

    def is_not_above(self, bound: float) -> bool:
        """Whether every interval ends at the bound or below; never without one."""
        return bool(self.intervals) and all(found.high <= bound for found in self.intervals)


@dataclass(frozen=True)
class Reproduction:
    """The records of a reproduction, by seed and part."""

    manifest: Manifest
    records: dict[tuple[str, str, str], Record]
    """(model or label, hand set, filter) -> record, of one protocol for each hand set and filter."""
    curves: tuple[dict[str, Curve], ...]
    """For each seed: filter -> SFT curve, with the base as step 0."""
    recoveries: tuple[Recovery | None, ...]
    """For each seed: the checkpoints recovered from the best on OOD into the last, strict."""

    @property
    def seeds(self) -> tuple[Seed, ...]:
        return self.manifest.seeds

    @property
    def starts(self) -> list[str]:
        """Those of `STARTS` that PPO was run from."""
        return [start for start in STARTS if start in self.seeds[0].ppo]

    def start(self, seed: Seed, name: str, hand_set: str) -> Record | None:
        """The record of a checkpoint that PPO starts from."""
        return self.get(seed.ppo[name].start, hand_set) if name in seed.ppo else None

    def final(self, seed: Seed, name: str, hand_set: str) -> Record | None:
        """The record of PPO's last checkpoint from a start."""
        return self.get(seed.ppo[name].final, hand_set) if name in seed.ppo else None

    def find(self, model: str, hand_set: str, name: str = STRICT) -> Record | None:
        return self.records.get((model, hand_set, name))

    def get(self, model: str, hand_set: str, name: str = STRICT) -> Record:
        """A record that has to be there.

        Raises:
            InputError: it is not.
        """
        if found := self.find(model, hand_set, name):
            return found
        raise InputError(f"reproduction: no record of {model} on hand set {hand_set} under {name}")

    def over_seeds(
        self, name: str, unit: str, value: Callable[[int, Seed], Value | None], seeds: int | None = None
    ) -> Measure:
        """A measure from a function of a seed's place and names; of the first so many seeds."""
        chosen = list(enumerate(self.seeds))[:seeds]
        return Measure(name, unit, tuple(value(i, seed) for i, seed in chosen))

    def recovered(self, place: int, label: str) -> Recovered | None:
        """A seed's recovered checkpoint by the label of its recipe."""
        found = self.recoveries[place]
        return next((r for r in found.checkpoints if r.recipe.label == label), None) if found else None

    def recipes(self) -> list[str]:
        """The labels of all recipes, the best mean of OOD accuracy over the seeds first."""
        shares: dict[str, list[float]] = {}
        for each in self.recoveries:
            for checkpoint in each.checkpoints if each else ():
                shares.setdefault(checkpoint.recipe.label, []).append(checkpoint.ood.share)
        return sorted(shares, key=lambda label: (-fmean(shares[label]), label))

    def drift(self, seed: Seed, first: str, checkpoint: str) -> Drift | None:
        wanted = (seed.seed, first, checkpoint)
        return next((d for d in self.manifest.drift if (d.seed, d.first, d.checkpoint) == wanted), None)

    def drift_pairs(self) -> dict[str, list[Drift]]:
        """Two parts in words -> the drift from one to the other, of each seed that has it."""
        wanted = [("base", "best OOD"), ("base", "SFT final"), ("best OOD", "SFT final")]
        wanted += [("best OOD", f"PPO final, {start} start") for start in self.starts]
        pairs: dict[str, list[Drift]] = {}
        for first, last in wanted:
            each = [self.drift(seed, self.parts(seed)[first], self.parts(seed)[last]) for seed in self.seeds]
            if drifts := [drift for drift in each if drift is not None]:
                pairs[f"{first} → {last}"] = drifts
        return pairs

    def drift_over_steps(self, first: str) -> list[tuple[int, dict[int, Drift]]]:
        """For each seed the step of a part in words, and SFT step -> the drift from that part to there."""
        every = []
        for seed, curves in zip(self.seeds, self.curves, strict=True):
            start = self.get(self.parts(seed)[first], "ood")
            drifts = {step: self.drift(seed, start.model, r.model) for step, r in curves[STRICT].ood.items()}
            known = {step: drift for step, drift in drifts.items() if drift is not None}
            every.append((start.step or 0, known))
        return every

    def parts(self, seed: Seed) -> dict[str, str]:
        """What a table calls a seed's checkpoints -> model."""
        finals = {f"PPO final, {start} start": seed.ppo[start].final for start in self.starts}
        return {"base": self.manifest.base, "best OOD": seed.best_ood, "SFT final": seed.final} | finals


def reproduction_of(manifest: Manifest, records: Iterable[Record]) -> Reproduction:
    """The records that a manifest speaks of.

    Of several of one checkpoint, that of its own run counts, which says its stage, and of these the newest.
    The first seed's last SFT checkpoint says what protocol each hand set is played by; others are left out.

    Raises:
        InputError: a record that every report needs is missing, or an SFT run has another base.
    """
    every = sorted(records, key=lambda r: (r.stage is not None, r.date or "", r.key))
    own = [r for r in every if _RULES.get(r.hand_set) == r.rule and (r.status, r.attempts) == ("measured", 1)]
    final = manifest.seeds[0].final
    protocols: dict[tuple[str, str | None], Protocol] = {
        (r.hand_set, r.filter): protocol_of(r) for r in own if final in (r.model, r.label)
    }
    own = [r for r in own if protocols.get((r.hand_set, r.filter)) == protocol_of(r)]
    chosen = {(r.model, r.hand_set, r.filter or ""): r for r in own}
    found = {(r.label, r.hand_set, r.filter or ""): r for r in chosen.values()} | chosen
    pairs = recoveries(own)
    made = Reproduction(manifest, found, (), tuple(_recovery(pairs, seed) for seed in manifest.seeds))
    for seed in manifest.seeds:
        _check(made, seed)
    played = list(chosen.values())
    curves = tuple(
        {name: _curve(played, seed, manifest.base, name) for name in FILTERS} for seed in made.seeds
    )
    for each in curves:
        for record in each[STRICT].ood.values():
            made.get(record.model, "ood", FLEXIBLE)
    return Reproduction(manifest, found, curves, made.recoveries)


def _check(made: Reproduction, seed: Seed) -> None:
    """That what no report can do without is there."""
    for model in (made.manifest.base, seed.best_ood, seed.final):
        for hand_set in ("id", "ood"):
            for name in FILTERS:
                made.get(model, hand_set, name)
    for run in seed.ppo.values():
        for model in run:
            for hand_set in ("id", "ood"):
                made.get(model, hand_set)


def _curve(own: Sequence[Record], seed: Seed, base: str, name: str) -> Curve:
    run = [r for r in own if run_of(r)[0] == seed.sft]
    start = [r for r in own if base in (r.model, r.label)]
    parents = {r.parent for r in run if r.parent}
    if not any(is_one_of(r, parents) for r in start):
        shown = ", ".join(sorted(parents)) or "none"
        raise InputError(f"reproduction: {seed.sft}: expected the parent {base}, found {shown}")
    return curve([*start, *run], name)


def _recovery(pairs: Sequence[Recovery], seed: Seed) -> Recovery | None:
    pair = (seed.best_ood, seed.final)
    return next((r for r in pairs if (r.source.name, r.target.name, r.filter) == (*pair, STRICT)), None)


# -- values ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _bits(outcomes: str) -> Deals:
    return np.array([float(bit) for bit in outcomes])


def bits(record: Record) -> Deals:
    """0 or 1 per deal."""
    return _bits(record.outcomes or "")


def accuracy(record: Record | None) -> Value | None:
    return record and Value(record.k / record.n, interval_of(record), bits(record))


def verdict_share(record: Record | None, verdict: Verdict) -> Value | None:
    """The share of replies with a verdict. Records count verdicts, so there are no deals."""
    share = record and record.verdict_share(verdict)
    return (
        None if record is None or share is None else Value(share, wilson(round(share * record.n), record.n))
    )


def gain(a: Record | None, b: Record | None) -> Value | None:
    """Accuracy of a less that of b, over the same deals, with Tango's interval."""
    if a is None or b is None:
        return None
    return _gain(difference(a, b), bits(a) - bits(b))


def _gain(found: Difference, deals: Deals) -> Value:
    return Value(found.share, found.interval, deals)


def gain_of_bits(a: Deals, b: Deals) -> Value:
    """`gain` from outcomes that are of no one record."""
    only_a, only_b = float((a > b).sum()), float((a < b).sum())
    both = float(a @ b)
    table = Paired(both, only_a, only_b, len(a) - both - only_a - only_b)
    return Value(table.difference, paired_interval(table), a - b)


def less(a: Value | None, b: Value | None) -> Value | None:
    """A − b, over the same deals where both have them."""
    if a is None or b is None:
        return None
    share = a.share - b.share
    if a.deals is None or b.deals is None:
        return Value(share)
    deals = a.deals - b.deals
    return Value(share, t_interval(deals.tolist()), deals)


def ratio(checkpoint: Record | None, source: Record | None, target: Record | None) -> Value | None:
    """The share of what the target lost against the source that a checkpoint recovers: see `recovered`.

    Per deal, the ratio R of the means of g and l is linearised: R + (g − R l) / mean(l), whose mean is R and
    whose spread is that of R to first order (Taylor linearisation; Cochran 1977, Sampling Techniques, 2.11).
    """
    if checkpoint is None or source is None or target is None:
        return None
    found = recovered_share(checkpoint, source, target)
    if found is None:
        return None
    share, interval = found
    gains, losses = bits(checkpoint) - bits(target), bits(source) - bits(target)
    return Value(share, interval, share + (gains - share * losses) / losses.mean())


def peak_picks(found: Curve) -> tuple[int, int]:
    """For the deals at even and at odd places, the step with the best OOD accuracy on the *other* half.

    Of equal steps the first. A peak that is picked and measured by the same deals flatters itself: picked by
    half of the deals and measured on the other, both ways, it does not.
    """
    steps = [step for step in found.ood if step]

    def best(half: int) -> int:
        return max(steps, key=lambda step: bits(found.ood[step])[half::2].sum())

    return best(1), best(0)


def at_picks(records: dict[int, Record], picks: tuple[int, int]) -> Deals:
    """Outcomes per deal, of one step at even places and of another at odd ones."""
    even, odd = (bits(records[step]) for step in picks)
    return np.where(np.arange(len(even)) % 2 == 0, even, odd)


def plain_hands(record: Record | None) -> Value | None:
    """Accuracy on the deals without a face card among those of a record."""
    hands = record and hands_of(record)
    if record is None or hands is None:
        return None
    plain = [bit for bit, deal in zip(bits(record), hands.deals, strict=False) if not has_face(deal.cards)]
    if not plain:
        return None
    return Value(sum(plain) / len(plain), wilson(sum(plain), len(plain)), np.array(plain))
