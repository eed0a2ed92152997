"""The follow-up's first claim: the loss does not show where OOD accuracy peaks; and what does."""

from __future__ import annotations

from points24.harness.analysis.foretelling import (
    ID_ACCURACY,
    ID_LOSS,
    PREFERENCE,
    QUANTITIES,
    TRAINING_LOSS,
    Trajectory,
    turn,
)
from points24.harness.analysis.retention import bits_of
from points24.harness.experiment.manifest import Seed
from points24.harness.experiment.measures import Measure, Reproduction
from points24.harness.experiment.values import Value, at_picks, gain_of_bits, peak_picks
from points24.harness.experiment.verdicts import Claim, Finding, above_zero
from points24.tasks.verdict import STRICT

_CHOOSERS = {
    ID_LOSS: "the lowest ID loss",
    TRAINING_LOSS: "the lowest training loss",
    ID_ACCURACY: "the best ID accuracy",
    PREFERENCE: "the highest rule preference",
}
"""Quantity -> the checkpoint that one would keep by it."""


def loss_finding(found: Reproduction) -> Finding:
    """What is lost on OOD by keeping the checkpoint that another quantity calls best."""
    missed = {key: _missed(found, key, name) for key, name in _CHOOSERS.items()}
    decides = (missed[ID_LOSS], missed[TRAINING_LOSS])
    claim = Claim(
        label="0b",
        what="the loss does not show the peak",
        paper="neither training nor test loss shows which SFT checkpoint is best on OOD",
        rule="the checkpoint with the lowest ID loss, and that with the lowest training loss, are both less "
        "accurate on OOD than the OOD peak",
        verdict=above_zero(decides),
        decides=decides,
        context=(
            missed[ID_ACCURACY],
            missed[PREFERENCE],
            _lead(found),
            *(_fall(found, key) for key in _FALLS),
        ),
    )
    return Finding(
        title="The loss does not show where OOD accuracy peaks",
        paper="OOD accuracy peaks early in SFT and then declines; training and test loss do not show which "
        "checkpoint is best.",
        source="arXiv:2509.12235, abstract, (1)",
        claims=(claim,),
        note="The OOD peak is measured as in the first finding, by halves of the deals that do not pick it. "
        "ID loss: NLL of the right replies to the ID deals, in nats per token; training loss: the last one "
        "logged at a checkpoint. Rule preference: see below, where every quantity has a row. Changes from "
        "the best OOD checkpoint to the final one have no deals here.",
    )


_FALLS = {
    ID_LOSS: "ID loss: final − best OOD",
    TRAINING_LOSS: "training loss: final − best OOD",
    PREFERENCE: "rule preference: final − best OOD",
}


def _run(found: Reproduction, seed: Seed) -> Trajectory | None:
    return next((run for run in found.shifts.runs if run.run == seed.sft), None)


def _missed(found: Reproduction, key: str, name: str) -> Measure:
    """OOD accuracy at the peak less that at the best checkpoint by a quantity, the first of equals."""
    worse = next(quantity.worse for quantity in QUANTITIES if quantity.key == key)

    def of(place: int, seed: Seed) -> Value | None:
        run, strict = _run(found, seed), found.curves[place][STRICT]
        if run is None or key not in run.quantities:
            return None
        values = [worse * point.value for point in run.quantities[key]]
        chosen = run.steps[values.index(min(values))]
        return gain_of_bits(at_picks(strict.ood, peak_picks(strict)), bits_of(strict.ood[chosen]))

    return found.over_seeds(f"OOD: peak − checkpoint with {name}", "points", of)


def _lead(found: Reproduction) -> Measure:
    """Steps by which the rule preference turns before OOD accuracy; see `turn`."""

    def of(_: int, seed: Seed) -> Value | None:
        run = _run(found, seed)
        if run is None or PREFERENCE not in run.quantities:
            return None
        mine, theirs = turn(run.steps, run.quantities[PREFERENCE], -1), turn(run.steps, run.ood, -1)
        if mine.seen_by is None or theirs.seen_by is None:
            return None
        return Value(theirs.seen_by - mine.seen_by)

    return found.over_seeds("steps by which the rule preference turns before OOD accuracy", "number", of)


def _fall(found: Reproduction, key: str) -> Measure:
    def of(_: int, seed: Seed) -> Value | None:
        run, best = _run(found, seed), found.get(seed.best_ood, "ood").step
        if run is None or key not in run.quantities or best not in run.steps:
            return None
        points = run.quantities[key]
        return Value(points[-1].value - points[run.steps.index(best)].value)

    return found.over_seeds(_FALLS[key], "number", of)
