"""What repairs bring back: the repaired checkpoints of one source and target, side by side.

Pure: records in, values out. A repaired checkpoint is one whose recipe names a source and a target that
have records of the same protocol and decoding. ID and OOD are the hand sets `id` and `ood`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from points24.harness.analysis.comparison import (
    Difference,
    Protocol,
    difference,
    hands_of,
    interval_of,
    protocol_of,
    recovered,
)
from points24.harness.analysis.curve import is_one_of
from points24.harness.analysis.statistics import Interval, holm
from points24.harness.records.record import Record
from points24.harness.recovery.specs import ALL_LAYERS, LayerSpec, RankSpec, parse_layers, parse_ranks
from points24.tasks.errors import InputError
from points24.tasks.verdict import FILTERS

SPECTRAL = "spectral"
"""The method that is a repair; every other one is a baseline."""


@dataclass(frozen=True)
class Recipe:
    """How a checkpoint was repaired, from `Record.recipe`."""

    method: str
    """``spectral``, ``reset``, ``interpolate`` or ``task-arithmetic``."""
    restore: str | None = None
    """``directions``, ``values`` or ``both``; None for a baseline."""
    ranks: RankSpec | None = None
    """None for a baseline."""
    layers: LayerSpec = ALL_LAYERS
    weight: float | None = None
    """None for a method without one."""
    variant: str = ""
    """Other settings in words: modules, taper, compat."""

    @property
    def kind(self) -> str:
        """What is restored, or the baseline's method."""
        return self.restore or self.method

    @property
    def is_baseline(self) -> bool:
        return self.method != SPECTRAL

    @property
    def rank_share(self) -> float | None:
        """0 … 1; None for a baseline, or for a count of ranks."""
        return self.ranks and self.ranks.share

    @property
    def layer_share(self) -> float | None:
        """0 … 1; None for a count or a list of layers."""
        return self.layers.share

    @property
    def short(self) -> str:
        """What tells it from others of its kind: ``top 20%, first 25%``, ``0.5``, ``all``."""
        weight = None if self.weight is None else f"{self.weight:g}"
        parts = [spec.text for spec in (self.ranks, self.layers) if spec and spec.text != "all"]
        return ", ".join(filter(None, (weight, *parts, self.variant))) or "all"

    @property
    def label(self) -> str:
        """In words: ``directions, top 20% of ranks, first 25% of layers``."""
        kind = self.kind if self.weight is None else f"{self.kind} {self.weight:g}"
        ranks = self.ranks and _words(self.ranks.text, self.ranks.share, "ranks")
        layers = _words(self.layers.text, self.layers.share, "layers") if self.layers.text != "all" else None
        return ", ".join(filter(None, (kind, ranks, layers, self.variant)))


class Score(NamedTuple):
    """A record and the 95 % interval of its accuracy."""

    record: Record
    interval: Interval

    @property
    def share(self) -> float:
        """Accuracy, 0 … 1."""
        return self.record.k / self.record.n


@dataclass(frozen=True)
class Reference:
    """The source or the target."""

    name: str
    """As the recipe has it."""
    ood: Score
    id: Score | None
    on_front: bool = False


@dataclass(frozen=True)
class Recovered:
    """One repaired checkpoint, under one protocol."""

    recipe: Recipe
    ood: Score
    id: Score | None
    """None where it, or the target, has no ID record that goes with the OOD record."""
    ood_gain: Difference
    """Against the target. `p_holm` is adjusted over both gains of every repair of the pair."""
    id_gain: Difference | None
    recovered: float | None
    """The share of what the target lost on OOD that is back: 0 as the target, 1 as the source. None if the
    target lost nothing."""
    interval: Interval | None
    """Fieller's 95 % interval of `recovered`; None where it is unbounded."""
    on_front: bool = False
    """Whether no other repair and neither end is as good on both of ID and OOD and better on one."""


@dataclass(frozen=True)
class Recovery:
    """The repairs of one source and target under one protocol and decoding."""

    source: Reference
    target: Reference
    protocol: Protocol
    """That of the OOD records."""
    decoding: str
    """As JSON."""
    checkpoints: tuple[Recovered, ...]
    """Best OOD accuracy first, then best ID accuracy, then by label."""

    @property
    def filter(self) -> str:
        return self.protocol.filter or ""

    @property
    def lost(self) -> Difference:
        """Source against target on OOD."""
        return difference(self.source.ood.record, self.target.ood.record)

    @property
    def best(self) -> Recovered | None:
        """The best spectral repair by OOD accuracy."""
        return next((r for r in self.checkpoints if not r.recipe.is_baseline), None)

    @property
    def best_baseline(self) -> Recovered | None:
        return next((r for r in self.checkpoints if r.recipe.is_baseline), None)


def recipe_of(record: Record) -> Recipe:
    """The recipe of a repaired checkpoint.

    Raises:
        InputError: ranks or layers that cannot be read.
    """
    recipe = record.recipe or {}
    modules = recipe.get("modules")
    variant = [
        "" if not modules else modules if isinstance(modules, str) else " ".join(modules),
        f"taper {recipe['taper']}" if recipe.get("taper") else "",
        "compat" if recipe.get("compat") else "",
    ]
    try:
        return Recipe(
            method=str(recipe["method"]),
            restore=recipe.get("restore"),
            ranks=parse_ranks(str(recipe["ranks"])) if recipe.get("ranks") else None,
            layers=parse_layers(str(recipe.get("layers") or "all")),
            weight=recipe.get("weight"),
            variant=", ".join(filter(None, variant)),
        )
    except InputError as e:
        raise InputError(f"{record.label}: recipe: {e}") from e


def recoveries(records: Iterable[Record]) -> list[Recovery]:
    """Every pair of source and target that was repaired, by filter (strict first), target and source.

    A pair stands once per OOD protocol and decoding. Of several records of one checkpoint the newest counts.
    A pair of which an end has no record of the protocol and decoding is left out: see `missing_references`.

    Raises:
        InputError: a recipe that cannot be read.
    """
    scored = _scored(records)
    found = []
    for (source, target, protocol, decoding), repaired in _groups(scored).items():
        same = [r for r in scored if protocol_of(r) == protocol and _decoding(r) == decoding]
        ends = [_newest(same, name) for name in (source, target)]
        if ends[0] is None or ends[1] is None:
            continue
        found.append(
            _recovery((source, target), (ends[0], ends[1]), repaired, _of_id(scored, ends[1], target))
        )
    return sorted(found, key=_order)


def missing_references(records: Iterable[Record]) -> list[str]:
    """The sources and targets of repaired records that have no record of the same protocol and decoding."""
    scored = _scored(records)
    return sorted(
        {
            name
            for source, target, protocol, decoding in _groups(scored)
            for name in (source, target)
            if not any(
                is_one_of(r, {name}) and protocol_of(r) == protocol and _decoding(r) == decoding
                for r in scored
            )
        }
    )


def against_baseline(found: Recovery) -> Difference | None:
    """The best repair against the best baseline on OOD; None where there is no repair or no baseline.

    Both were picked by the same deals, which flatters the one ahead. So `p_holm` is adjusted over the tests
    of all of its kind (repairs, or baselines) against the other: each of them might have been the best.
    """
    best, baseline = found.best, found.best_baseline
    if best is None or baseline is None:
        return None
    other, kind = (baseline, False) if best.ood.record.k >= baseline.ood.record.k else (best, True)
    rivals = [r.ood.record for r in found.checkpoints if r.recipe.is_baseline is kind]
    adjusted = holm([difference(rival, other.ood.record).p for rival in rivals])
    return difference(best.ood.record, baseline.ood.record)._replace(p_holm=adjusted[0])  # the best is first


def _scored(records: Iterable[Record]) -> list[Record]:
    """Measured records of `id` and `ood` under their own rule, oldest first."""
    scored = [
        r for r in records if r.status == "measured" and r.hand_set == r.rule and r.rule in ("id", "ood")
    ]
    return sorted(scored, key=lambda r: (r.date or "", r.key))


def _groups(scored: Sequence[Record]) -> dict[tuple[str, str, Protocol, str], list[Record]]:
    """(source, target, OOD protocol, decoding) -> the repaired records, oldest first."""
    groups: dict[tuple[str, str, Protocol, str], list[Record]] = defaultdict(list)
    for record in scored:
        recipe = record.recipe or {}
        source, target = recipe.get("source"), recipe.get("target")
        if (
            record.rule == "ood"
            and "method" in recipe
            and isinstance(source, str)
            and isinstance(target, str)
        ):
            groups[source, target, protocol_of(record), _decoding(record)].append(record)
    return groups


def _recovery(
    names: tuple[str, str], ends: tuple[Record, Record], repaired: Sequence[Record], of_id: Sequence[Record]
) -> Recovery:
    """One pair under one protocol.

    Args:
        names: of source and target.
        ends: their OOD records.
        repaired: OOD records, oldest first.
        of_id: the ID records that go with them, of one protocol, oldest first.
    """
    source, target = (
        Reference(name, _score(ood), _maybe(_newest(of_id, name)))
        for name, ood in zip(names, ends, strict=True)
    )
    ids = {_identity(record): record for record in of_id if record.recipe}
    repairs = [
        _repair(record, ids.get(key), source, target)
        for key, record in {_identity(record): record for record in repaired}.items()
    ]
    repairs.sort(
        key=lambda r: (-r.ood.record.k, -(r.id.record.k if r.id else 0), r.recipe.label, r.ood.record.key)
    )
    on_front = _front([source, target, *repairs])
    source, target = (
        replace(end, on_front=on) for end, on in zip((source, target), on_front[:2], strict=True)
    )
    repairs = [replace(r, on_front=on) for r, on in zip(_adjusted(repairs), on_front[2:], strict=True)]
    return Recovery(source, target, protocol_of(ends[1]), _decoding(ends[1]), tuple(repairs))


def _repair(ood: Record, of_id: Record | None, source: Reference, target: Reference) -> Recovered:
    back = recovered(ood, source.ood.record, target.ood.record)
    if target.id is None:
        of_id = None
    return Recovered(
        recipe=recipe_of(ood),
        ood=_score(ood),
        id=_maybe(of_id),
        ood_gain=difference(ood, target.ood.record),
        id_gain=difference(of_id, target.id.record) if of_id and target.id else None,
        recovered=back and back[0],
        interval=back and back[1],
    )


def _adjusted(repairs: Sequence[Recovered]) -> list[Recovered]:
    """The repairs with Holm's adjustment over all of their tests against the target."""
    ps = iter(holm([gain.p for r in repairs for gain in (r.ood_gain, r.id_gain) if gain is not None]))

    def adjusted(gain: Difference) -> Difference:
        return gain._replace(p_holm=next(ps))

    return [
        replace(r, ood_gain=adjusted(r.ood_gain), id_gain=adjusted(r.id_gain) if r.id_gain else None)
        for r in repairs
    ]


def _front(points: Sequence[Reference | Recovered]) -> list[bool]:
    """Whether each is on the Pareto front of ID and OOD accuracy; equals both are, what has no ID is not."""
    wins = [(p.id.record.k, p.ood.record.k) if p.id else None for p in points]
    scored = {win for win in wins if win}
    return [
        win is not None
        and not any(other != win and other[0] >= win[0] and other[1] >= win[1] for other in scored)
        for win in wins
    ]


def _of_id(scored: Sequence[Record], ood: Record, target: str) -> list[Record]:
    """The ID records that go with an OOD record of the target: those of its ID record with the most deals.

    The same settings, and the same ``--limit``: as many deals, or more where the OOD set has no more.
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
    protocol = protocol_of(max(theirs, key=lambda r: r.n))
    return [r for r in going if protocol_of(r) == protocol]


def _setting(record: Record) -> tuple[Any, ...]:
    """What an ID and an OOD record of one evaluation share."""
    settings = (record.task_version, record.target, record.template_digest, record.num_fewshot)
    return (*settings, record.attempts, record.filter, _decoding(record))


def _identity(record: Record) -> tuple[str, str]:
    """A repaired checkpoint: its recipe without the folder's name, and its weights.

    The weights, since a recipe does not name the base of task arithmetic or the dtype of the output.
    """
    recipe = {key: value for key, value in (record.recipe or {}).items() if key != "name"}
    return json.dumps(recipe, sort_keys=True), record.weights_sha256 or record.model


def _newest(records: Sequence[Record], name: str) -> Record | None:
    return next((r for r in reversed(records) if is_one_of(r, {name})), None)


def _score(record: Record) -> Score:
    return Score(record, interval_of(record))


def _maybe(record: Record | None) -> Score | None:
    return None if record is None else _score(record)


def _decoding(record: Record) -> str:
    return json.dumps(record.decoding, sort_keys=True)


def _order(found: Recovery) -> tuple[Any, ...]:
    strict_first = FILTERS.index(found.filter)
    return (
        strict_first,
        found.target.name,
        found.source.name,
        -found.protocol.n,
        found.protocol.slug,
        found.decoding,
    )


def _words(text: str, share: float | None, noun: str) -> str:
    """``all ranks``, ``top 20% of ranks``, ``top 128 ranks``, ``layers 0-6``."""
    if text[0].isdigit():
        return f"{noun} {text}"
    return f"{text} {noun}" if text == "all" or share is None else f"{text} of {noun}"
