"""An experiment beside the same one with other trainings: what each forgets, and what regains it.

The main training is the experiment's own; the others replace some of its settings. All are compared at the
final checkpoint of SFT, on the same deals, over the seeds that both have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from points24.harness.experiment.findings import DIRECTIONS, peak_less_final
from points24.harness.experiment.measures import Measure, Reproduction, ratio_of
from points24.harness.experiment.values import Value, accuracy, gain, less
from points24.harness.experiment.verdicts import FAILS, HOLDS, OPEN, above_zero
from points24.harness.records.record import Record
from points24.tasks.verdict import STRICT

HAND_SETS = ("id", "id_heldout", "ood", "ood_heldout", "contradiction", "five_cards")
REGAINED = {
    "PPO": "PPO final, late start",
    "GRPO": "GRPO final, late start",
    "directions": DIRECTIONS,
    "interpolation": "interpolate 0.5",
}
"""What is done to the final checkpoint, and the part or recipe that it gives; see `Reproduction.score`."""
RULE = (
    "A training removes the forgetting if its OOD fall, peak − final, is below that of the main training,"
    " and each of its intervals ends below half of the main training's mean. It does not if its fall is "
    "not below, or is above that half. It makes recovery needless if its final OOD accuracy is above what"
    " interpolation regains of the main training, and does not if it is not above. A verdict that the "
    "intervals leave open is inconclusive."
)


@dataclass(frozen=True)
class Training:
    """One training: all its numbers are over the seeds that the main training has as well."""

    name: str
    accuracies: dict[str, Measure]
    """Hand set -> of the final checkpoint."""
    fall: Measure
    """OOD accuracy, peak − final, as in the first finding."""
    regained: dict[str, Measure]
    """`REGAINED` -> OOD accuracy."""
    shares: dict[str, Measure]
    """`REGAINED` -> the recovered share of the OOD loss."""
    seconds: dict[str, float]
    """Kind of stage -> a seed's."""


@dataclass(frozen=True)
class Contrast:
    """A training beside the main one."""

    name: str
    saved: Measure
    """The main training's fall less its own."""
    ahead: Measure
    """Its final OOD accuracy less what interpolation regains of the main training."""
    removes: str
    needless: str


def trainings_of(main: Reproduction, name: str, others: Mapping[str, Reproduction]) -> list[Training]:
    """The main training under a name, then the others."""
    return [_training(each, found) for each, found in {name: main, **others}.items()]


def contrasts(main: Reproduction, others: Mapping[str, Reproduction]) -> list[Contrast]:
    """Each of the others beside the main one."""
    return [_contrast(main, name, found) for name, found in others.items()]


def _training(name: str, found: Reproduction) -> Training:
    def final(hand_set: str) -> Measure:
        return found.over_seeds(
            hand_set, "percent", lambda _, seed: accuracy(found.find(seed.final, hand_set))
        )

    def after(part: str) -> Measure:
        return found.over_seeds(part, "percent", lambda place, _: accuracy(_score(found, place, part)))

    seconds: dict[str, float] = {}
    for stage, each in found.manifest.seconds.items():
        kind = stage.rpartition("-")[0]
        seconds[kind] = seconds.get(kind, 0.0) + each / len(found.seeds)
    return Training(
        name,
        {hand_set: final(hand_set) for hand_set in HAND_SETS},
        peak_less_final(found),
        {what: after(part) for what, part in REGAINED.items()},
        {what: _share(found, what, part) for what, part in REGAINED.items()},
        seconds,
    )


def _share(found: Reproduction, what: str, part: str) -> Measure:
    if all(_score(found, place, part) for place in range(len(found.seeds))):
        return ratio_of(found, what, part, "SFT final")
    return Measure(what, "percent", (None,) * len(found.seeds))


def _contrast(main: Reproduction, name: str, other: Reproduction) -> Contrast:
    def paired(title: str, value: Callable[[int, int], Value | None]) -> Measure:
        places = {seed.seed: place for place, seed in enumerate(main.seeds)}
        both = [(places[seed.seed], here) for here, seed in enumerate(other.seeds) if seed.seed in places]
        return Measure(title, "points", tuple(value(there, here) for there, here in both))

    falls, own = peak_less_final(main), peak_less_final(other)
    saved = paired("forgets less", lambda there, here: less(falls.values[there], own.values[here]))

    def lead(there: int, here: int) -> Value | None:
        return gain(
            other.find(other.seeds[here].final, "ood"), _score(main, there, REGAINED["interpolation"])
        )

    ahead = paired("OOD ahead", lead)
    return Contrast(name, saved, ahead, _removes(saved, own, (falls.mean or 0) / 2), above_zero([ahead]))


def _removes(saved: Measure, fall: Measure, half: float) -> str:
    """By `RULE`."""
    if saved.is_above(0) and fall.is_below(half):
        return HOLDS
    return FAILS if saved.is_not_above(0) or fall.is_above(half) else OPEN


def _score(found: Reproduction, place: int, part: str) -> Record | None:
    """The strict OOD record of a part or recipe, if there is one."""
    models = found.parts(found.seeds[place])
    if part in models:
        return found.find(models[part], "ood", STRICT)
    checkpoint = found.recovered(place, part)
    return checkpoint.ood.record if checkpoint else None
