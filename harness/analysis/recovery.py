"""What recovery achieves: the recovered checkpoints of one source and target, side by side.

Pure: records in, values out. A record is of a recovered checkpoint if its recipe names a method, a source and
a target. Source and target need records of the same protocol and decoding. ID and OOD are the hand sets `id`
and `ood`. Recipes are compared by the harmonic mean of what they recover and retain (`retention` defines
both), and the best one is measured on deals that did not pick it (`picking`).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from points24.harness.analysis.comparison import (
    Difference,
    Score,
    Terms,
    difference,
    hands_of,
    score_of,
    terms_of,
)
from points24.harness.analysis.curve import is_one_of
from points24.harness.analysis.picking import cross_picks, joined, merits_of
from points24.harness.analysis.retention import Outcomes, Scales, Share, Shares, bits_of
from points24.harness.analysis.statistics import holm
from points24.harness.records.record import Record
from points24.harness.recovery.recipe import Recipe
from points24.tasks.errors import InputError
from points24.tasks.verdict import FILTERS


@dataclass(frozen=True)
class Reference:
    """The source or the target."""

    name: str
    """As recipes call it."""
    ood: Score
    id: Score | None
    on_front: bool = False


@dataclass(frozen=True)
class Recovered:
    """One recovered checkpoint, under one protocol."""

    recipe: Recipe
    ood: Score
    id: Score | None
    """None where it or the target has no ID record that goes with the OOD record."""
    ood_gain: Difference
    """Against the target. `p_holm` is adjusted over both gains of every recovered checkpoint of the pair."""
    id_gain: Difference | None
    shares: Shares
    """What it recovers of the target's loss on OOD, and retains of its gain on ID."""
    on_front: bool = False
    """Whether nothing else of the pair, source and target included, is as good on both ID and OOD and better
    on one."""

    @property
    def outcomes(self) -> Outcomes:
        return Outcomes(bits_of(self.ood.record), bits_of(self.id.record) if self.id else None)


@dataclass(frozen=True, eq=False)
class Picked:
    """The best of several recipes, picked on each half of the deals and measured on the other."""

    among: int
    """How many recipes it was picked from."""
    halves: tuple[Recovered, Recovered]
    """What is measured at even places, and at odd ones; often the same."""
    outcomes: Outcomes
    shares: Shares

    @property
    def labels(self) -> list[str]:
        """The labels of `halves`: one if they are the same."""
        return list(dict.fromkeys(each.recipe.label for each in self.halves))


@dataclass(frozen=True)
class Recovery:
    """The recovered checkpoints of one source and target under one protocol and decoding."""

    source: Reference
    target: Reference
    terms: Terms
    """That of the OOD records."""
    decoding: str
    """As JSON."""
    scales: Scales
    """What the shares of the checkpoints are measured by."""
    checkpoints: tuple[Recovered, ...]
    """The highest harmonic mean first (or recovered share, where none is retained), then by OOD and ID
    accuracy, then by label."""

    @property
    def filter(self) -> str:
        return self.terms.filter or ""

    @property
    def lost(self) -> Difference:
        """Source against target on OOD."""
        return difference(self.source.ood.record, self.target.ood.record)

    @property
    def gained(self) -> Difference | None:
        """Target against source on ID."""
        if self.source.id is None or self.target.id is None:
            return None
        return difference(self.target.id.record, self.source.id.record)

    @property
    def spectral(self) -> list[Recovered]:
        """The checkpoints of methods that are no baseline."""
        return [r for r in self.checkpoints if not r.recipe.method.is_baseline]

    @property
    def baselines(self) -> list[Recovered]:
        return [r for r in self.checkpoints if r.recipe.method.is_baseline]

    @cached_property
    def best(self) -> Picked | None:
        """The best of all recipes: see `pick`."""
        return self.pick(self.checkpoints)

    def pick(self, checkpoints: Sequence[Recovered]) -> Picked | None:
        """The best of some checkpoints; None where the shares are not defined on a half of the deals.

        Where something is retained, checkpoints that were not scored on ID are left out.
        """
        chosen = [r for r in checkpoints if r.id or self.scales.id is None]
        chosen.sort(key=lambda r: (r.recipe.label, r.ood.record.key))  # not by merit: equals stay equal
        each = [r.outcomes for r in chosen]
        merits = merits_of(self.scales, each)
        if merits is None:
            return None
        even, odd = cross_picks(merits[np.newaxis])[0]
        outcomes = joined(each[even], each[odd])
        return Picked(len(chosen), (chosen[even], chosen[odd]), outcomes, self.scales.shares(outcomes))


def recipe_of(record: Record) -> Recipe:
    """The recipe of a recovered checkpoint.

    Raises:
        InputError: a method that is not known, or settings that cannot be read.
    """
    try:
        return Recipe.read(record.recipe or {})
    except InputError as e:
        raise InputError(f"{record.label}: recipe: {e}") from e


def recoveries(records: Iterable[Record]) -> list[Recovery]:
    """The recoveries among records, sorted by filter (strict first), target and source.

    A pair comes once per OOD protocol and decoding. Of several records of one checkpoint the newest counts. A
    pair whose source or target has no record of that protocol and decoding is left out: `missing_references`
    names it.

    Raises:
        InputError: a recipe that cannot be read.
    """
    scored = _scored(records)
    found = [
        _recovery(names, source, target, made, _of_id(scored, target, names[1]))
        for names, (source, target), made in _pairs(scored)
        if source and target
    ]
    return sorted(found, key=_order)


def missing_references(records: Iterable[Record]) -> list[str]:
    """The sources and targets of recovered checkpoints without a record of the same protocol and decoding."""
    return sorted(
        {
            name
            for names, references, _ in _pairs(_scored(records))
            for name, reference in zip(names, references, strict=True)
            if reference is None
        }
    )


def against_baseline(found: Recovery) -> Share | None:
    """How far the best spectral recipe leads the best baseline, both as `Recovery.pick` measures them.

    None where either is missing. Below 0 the baseline leads.
    """
    best, baseline = found.pick(found.spectral), found.pick(found.baselines)
    return best and baseline and found.scales.lead(best.outcomes, baseline.outcomes)


def _scored(records: Iterable[Record]) -> list[Record]:
    """Measured records of `id` and `ood` under their own rule, oldest first."""
    scored = [
        r for r in records if r.status == "measured" and r.hand_set == r.rule and r.rule in ("id", "ood")
    ]
    return sorted(scored, key=lambda r: (r.date or "", r.key))


def _pairs(
    scored: Sequence[Record],
) -> Iterator[tuple[tuple[str, str], tuple[Record | None, Record | None], list[Record]]]:
    """For each pair, OOD protocol and decoding: the names of source and target, their OOD records, and those
    of the recovered checkpoints, oldest first.
    """
    groups: dict[tuple[str, str, Terms, str], list[Record]] = defaultdict(list)
    for record in scored:
        recipe = record.recipe or {}
        source, target = recipe.get("source"), recipe.get("target")
        if (
            record.rule == "ood"
            and "method" in recipe
            and isinstance(source, str)
            and isinstance(target, str)
        ):
            groups[source, target, terms_of(record), _decoding(record)].append(record)
    for (source, target, terms, decoding), made in groups.items():
        same = [r for r in scored if terms_of(r) == terms and _decoding(r) == decoding]
        yield (source, target), (_newest(same, source), _newest(same, target)), made


def _recovery(
    names: tuple[str, str],
    of_source: Record,
    of_target: Record,
    made: Sequence[Record],
    of_id: Sequence[Record],
) -> Recovery:
    """One pair under one protocol.

    `names` are those of source and target. All records are OOD records but those in `of_id`, the ID records
    that go with them, of one protocol. `made` are of recovered checkpoints. Both are oldest first.
    """

    def reference(name: str, ood: Record) -> Reference:
        own = _newest(of_id, name)
        return Reference(name, score_of(ood), own and score_of(own))

    source, target = reference(names[0], of_source), reference(names[1], of_target)
    ids = {_identity(record): record for record in of_id if record.recipe}
    newest = {_identity(record): record for record in made}
    ends = (source.id.record, target.id.record) if source.id and target.id else None
    scales = Scales.of((source.ood.record, target.ood.record), ends)
    found = [_recovered(record, ids.get(key), target, scales) for key, record in newest.items()]
    found.sort(key=lambda r: _rank(r, scales))
    on_front = _front([source, target, *found])
    source, target = replace(source, on_front=on_front[0]), replace(target, on_front=on_front[1])
    found = [replace(r, on_front=on) for r, on in zip(_adjusted(found), on_front[2:], strict=True)]
    return Recovery(source, target, terms_of(of_target), _decoding(of_target), scales, tuple(found))


def _recovered(ood: Record, of_id: Record | None, target: Reference, scales: Scales) -> Recovered:
    of_id = of_id if target.id else None
    return Recovered(
        recipe=recipe_of(ood),
        ood=score_of(ood),
        id=of_id and score_of(of_id),
        ood_gain=difference(ood, target.ood.record),
        id_gain=difference(of_id, target.id.record) if of_id and target.id else None,
        shares=scales.shares(Outcomes(bits_of(ood), bits_of(of_id) if of_id else None)),
    )


def _rank(found: Recovered, scales: Scales) -> tuple[Any, ...]:
    """What a recovery's checkpoints are sorted by."""
    merit = scales.merit(found.outcomes)
    accuracy = found.ood.record.k, found.id.record.k if found.id else 0
    known = found.id is not None or scales.id is None
    return not known, -(merit or 0), *(-k for k in accuracy), found.recipe.label, found.ood.record.key


def _adjusted(found: Sequence[Recovered]) -> list[Recovered]:
    """The same, with Holm's adjustment over all of their tests against the target."""
    ps = iter(holm([gain.p for r in found for gain in (r.ood_gain, r.id_gain) if gain is not None]))

    def adjusted(gain: Difference) -> Difference:
        return gain._replace(p_holm=next(ps))

    return [
        replace(r, ood_gain=adjusted(r.ood_gain), id_gain=adjusted(r.id_gain) if r.id_gain else None)
        for r in found
    ]


def _front(points: Sequence[Reference | Recovered]) -> list[bool]:
    """Whether each is on the Pareto front of ID and OOD accuracy.

    Several equal points on the front are all on it; a point without ID accuracy is not.
    """
    wins = [(p.id.record.k, p.ood.record.k) if p.id else None for p in points]
    scored = {win for win in wins if win}
    return [
        win is not None
        and not any(other != win and other[0] >= win[0] and other[1] >= win[1] for other in scored)
        for win in wins
    ]


def _of_id(scored: Sequence[Record], ood: Record, target: str) -> list[Record]:
    """The ID records that go with an OOD record of the target: those of its ID record with the most deals.

    They share the settings and the ``--limit``: as many deals, or more where the OOD set has no more.
    """
    hands = hands_of(ood)
    whole = len(hands) if hands else ood.n
    going = [
        r
        for r in scored
        if r.rule == "id" and _setting(r) == _setting(ood) and (r.n == ood.n or r.n > ood.n == whole)
    ]
    theirs = [r for r in going if is_one_of(r, {target})]
    if not theirs:
        return []
    terms = terms_of(max(theirs, key=lambda r: r.n))
    return [r for r in going if terms_of(r) == terms]


def _setting(record: Record) -> tuple[Any, ...]:
    """What an ID and an OOD record of one evaluation share."""
    settings = (record.task_version, record.target, record.template_digest, record.num_fewshot)
    return (*settings, record.attempts, record.filter, _decoding(record))


def _identity(record: Record) -> tuple[str, str]:
    """What tells recovered checkpoints apart: the recipe without the folder's name, and the weights.

    The weights, because a recipe names neither the base of task arithmetic nor the dtype of the output.
    """
    recipe = {key: value for key, value in (record.recipe or {}).items() if key != "name"}
    return json.dumps(recipe, sort_keys=True), record.weights_sha256 or record.model


def _newest(records: Sequence[Record], name: str) -> Record | None:
    return next((r for r in reversed(records) if is_one_of(r, {name})), None)


def _decoding(record: Record) -> str:
    return json.dumps(record.decoding, sort_keys=True)


def _order(found: Recovery) -> tuple[Any, ...]:
    names = found.target.name, found.source.name
    return (FILTERS.index(found.filter), *names, -found.terms.n, found.terms.slug, found.decoding)
