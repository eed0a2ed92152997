"""Which quantity foretells the forgetting: rank correlations with the OOD accuracy that a run loses.

Pure: shift records and records in, values out. A run's own checkpoints count, not its parent.

At a step, the *loss so far* is the best OOD accuracy up to there less that at the step; the *loss to come* is
the accuracy at the step less that of the final one. Over training, whatever grows or falls steadily goes with
both, as the number of the step itself does; so the step stands in the table as the quantity to beat, and a
third correlation compares runs at equal steps. Only that one tells whether a quantity foretells anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from points24.harness.analysis.comparison import interval_of
from points24.harness.analysis.curve import run_of
from points24.harness.analysis.statistics import Interval
from points24.harness.records.record import Record
from points24.harness.records.shift import ShiftRecord
from points24.tasks.verdict import STRICT

RESAMPLES = 2000
TASKS = {"id": "points24_id", "ood": "points24_ood"}
"""Hand set -> the task whose quantities are compared."""
_Floats = NDArray[np.float64]


class Point(NamedTuple):
    """A value at one checkpoint, with its 95 % interval over deals where it has one."""

    value: float
    interval: Interval | None = None


@dataclass(frozen=True)
class Quantity:
    """Something that is known of a checkpoint without playing OOD deals."""

    key: str
    label: str
    worse: int
    """1 if a higher value is worse, −1 if a lower one is."""


STEP, ID_ACCURACY, TRAINING_LOSS = "step", "accuracy", "training_loss"
ID_LOSS, PREFERENCE = "id nll", "ood preference"
QUANTITIES = (
    Quantity(STEP, "the step itself", 1),
    Quantity(TRAINING_LOSS, "training loss", 1),
    Quantity(ID_LOSS, "ID loss (NLL of the right replies)", 1),
    Quantity(ID_ACCURACY, "ID accuracy", -1),
    Quantity("ood nll", "OOD loss", 1),
    Quantity("ood nll_numbers", "OOD loss, numbers", 1),
    Quantity("ood nll_formula", "OOD loss, formula", 1),
    Quantity("ood nll_rival", "OOD loss of the memorised rule's replies", -1),
    Quantity(PREFERENCE, "rule preference", -1),
    Quantity("ood preference_numbers", "rule preference, numbers", -1),
    Quantity("ood preference_formula", "rule preference, formula", -1),
    Quantity("ood rival_preferred", "wrong rule preferred", 1),
    Quantity("ood rival_preferred_numbers", "wrong rule preferred, numbers", 1),
    Quantity("ood brier", "Brier score of the choice of rule", 1),
    Quantity("ood calibration_error", "calibration error of the choice of rule", 1),
    Quantity("id kl_samples", "KL(base ‖ checkpoint), ID, the base's samples", 1),
    Quantity("id reverse_kl_samples", "KL(checkpoint ‖ base), ID, the base's samples", 1),
    Quantity("id kl_reference", "KL(base ‖ checkpoint), ID, right replies", 1),
    Quantity("ood kl_samples", "KL(base ‖ checkpoint), OOD, the base's samples", 1),
    Quantity("ood reverse_kl_samples", "KL(checkpoint ‖ base), OOD, the base's samples", 1),
    Quantity("ood kl_reference", "KL(base ‖ checkpoint), OOD, right replies", 1),
    Quantity("id entropy_reference", "entropy, ID, right replies", -1),
    Quantity("ood entropy_reference", "entropy, OOD, right replies", -1),
    Quantity("ood overlap_samples", "top-5 overlap, OOD, the base's samples", -1),
    Quantity("id cka", "CKA with the base, ID, mean over layers", -1),
    Quantity("ood cka", "CKA with the base, OOD, mean over layers", -1),
    Quantity("id shift", "shift of the ID centroid, last layer", -1),
    Quantity("ood shift", "shift of the OOD centroid, last layer", -1),
    Quantity("weights change", "‖ΔW‖ / ‖W‖", 1),
    Quantity("weights values", "change of singular values", 1),
    Quantity("weights misalignment", "rotation of singular vectors", 1),
    Quantity("weights unchanged", "unchanged weights", -1),
)


@dataclass(frozen=True)
class Trajectory:
    """The checkpoints of one run, by step."""

    run: str
    steps: tuple[int, ...]
    ood: tuple[Point, ...]
    """OOD accuracy, strict."""
    quantities: dict[str, tuple[Point, ...]]
    """`Quantity.key` -> its values; only what is known at every step."""


class Shifts(NamedTuple):
    """Runs, and the shift records that they are made from."""

    runs: list[Trajectory]
    records: list[ShiftRecord]


class Correlation(NamedTuple):
    r: float
    """−1 … 1."""
    interval: Interval | None
    """95 %, by a bootstrap over runs; None for a single run."""

    @property
    def is_clear(self) -> bool:
        return self.interval is not None and (self.interval.low > 0 or self.interval.high < 0)


class Turn(NamedTuple):
    """When a quantity has got worse for good."""

    best: int
    """The step of its best value, the first of equals."""
    seen_by: int | None
    """The first step from which on its interval lies wholly on the worse side of the best one's; None if it
    is not seen to get worse."""


@dataclass(frozen=True)
class Foretelling:
    """How a quantity goes with the forgetting. Correlations are None where a quantity does not vary."""

    quantity: Quantity
    to_come: Correlation | None
    so_far: Correlation | None
    at_equal_steps: Correlation | None
    """With the loss to come, of the ranks among the runs at each step."""
    turns: tuple[Turn, ...]
    """Of each run; empty where the quantity has no intervals."""


def shifts_of(records: Iterable[ShiftRecord], scores: Iterable[Record]) -> Shifts:
    """Shift records with the runs that they and some scores make."""
    every = list(records)
    return Shifts(trajectories(every, scores), every)


def trajectories(shifts: Iterable[ShiftRecord], records: Iterable[Record]) -> list[Trajectory]:
    """The runs whose checkpoints have both shift records and scores, in order of name."""
    scores = {
        (record.model, record.hand_set): record
        for record in sorted(records, key=lambda r: (r.date or "", r.key))
        if record.filter == STRICT and record.task == TASKS.get(record.hand_set)
    }
    found: dict[str, dict[int, dict[str, ShiftRecord]]] = {}
    for each in shifts:
        if each.step and (each.model, "ood") in scores:
            run, _ = run_of(scores[each.model, "ood"])
            found.setdefault(run, {}).setdefault(each.step, {})[each.task] = each
    whole = {
        run: {step: sides for step, sides in sorted(steps.items()) if sides.keys() >= {*TASKS.values()}}
        for run, steps in found.items()
    }
    return [_trajectory(run, steps, scores) for run, steps in sorted(whole.items()) if len(steps) > 1]


def _trajectory(
    run: str, steps: Mapping[int, Mapping[str, ShiftRecord]], scores: Mapping[tuple[str, str], Record]
) -> Trajectory:
    points: dict[str, list[Point]] = {}
    ood = []
    for step, sides in steps.items():
        model = next(iter(sides.values())).model
        ood.append(_accuracy(scores[model, "ood"]))
        here = {STEP: Point(step)}
        if score := scores.get((model, "id")):
            here[ID_ACCURACY] = _accuracy(score)
        for side, task in TASKS.items():
            here |= {f"{side} {name}": point for name, point in _points(sides[task]).items()}
        of_all = sides[TASKS["ood"]]
        if of_all.training_loss is not None:
            here[TRAINING_LOSS] = Point(of_all.training_loss)
        here |= {f"weights {name}": Point(value) for name, value in of_all.weights.items()}
        for key, point in here.items():
            points.setdefault(key, []).append(point)
    complete = {key: tuple(values) for key, values in points.items() if len(values) == len(steps)}
    return Trajectory(run, tuple(steps), tuple(ood), complete)


def _points(record: ShiftRecord) -> dict[str, Point]:
    found = {}
    for name, each in record.measures.items():
        found[name] = Point(each.mean, each.interval and Interval(*each.interval))
    ckas = [layer.cka for layer in record.layers if layer.cka is not None]
    if ckas:
        found["cka"] = Point(fmean(ckas))
    if record.layers and (shift := record.layers[-1].shift) is not None:
        found["shift"] = Point(shift)
    return found


def _accuracy(record: Record) -> Point:
    return Point(record.accuracy, interval_of(record))


def foretellings(runs: Sequence[Trajectory]) -> list[Foretelling]:
    """Every quantity that all runs have, in the order of `QUANTITIES`, over the steps that all have."""
    if not runs:
        return []
    common = sorted(set.intersection(*(set(run.steps) for run in runs)))
    accuracy = _matrix(runs, [run.ood for run in runs], common)
    to_come = accuracy - accuracy[:, -1:]
    so_far = np.maximum.accumulate(accuracy, axis=1) - accuracy
    draws = _draws(len(runs))
    found = []
    for quantity in QUANTITIES:
        if not all(quantity.key in run.quantities for run in runs):
            continue
        values = _matrix(runs, [run.quantities[quantity.key] for run in runs], common)
        before = slice(None, -1)  # at the final step nothing is to come, by definition
        found.append(
            Foretelling(
                quantity,
                _pooled(values[:, before], to_come[:, before], draws),
                _pooled(values, so_far, draws),
                _at_equal_steps(values[:, before], to_come[:, before], draws),
                _turns(runs, quantity),
            )
        )
    return found


def ood_turns(runs: Sequence[Trajectory]) -> tuple[Turn, ...]:
    """When OOD accuracy itself has turned, in each run."""
    return tuple(turn(run.steps, run.ood, -1) for run in runs)


def turn(steps: Sequence[int], points: Sequence[Point], worse: int) -> Turn:
    """When a quantity has got worse for good.

    Args:
        steps: ascending.
        points: the value at each, with intervals.
        worse: as in `Quantity`.
    """
    best = min(range(len(steps)), key=lambda place: worse * points[place].value)
    bound = points[best].interval
    seen = None
    for place in range(len(steps) - 1, best, -1):
        here = points[place].interval
        if bound is None or here is None:
            break
        is_worse = here.low > bound.high if worse > 0 else here.high < bound.low
        if not is_worse:
            break
        seen = steps[place]
    return Turn(steps[best], seen)


def _turns(runs: Sequence[Trajectory], quantity: Quantity) -> tuple[Turn, ...]:
    every = [run.quantities[quantity.key] for run in runs]
    if any(point.interval is None for points in every for point in points):
        return ()
    return tuple(turn(run.steps, points, quantity.worse) for run, points in zip(runs, every, strict=True))


def _matrix(runs: Sequence[Trajectory], points: Sequence[Sequence[Point]], steps: Sequence[int]) -> _Floats:
    """The values of a quantity at some steps, (runs, steps)."""
    return np.array(
        [
            [each[run.steps.index(step)].value for step in steps]
            for run, each in zip(runs, points, strict=True)
        ]
    )


def _draws(runs: int) -> NDArray[np.int64]:
    """(1 + resamples, runs): all runs, then those of every bootstrap sample; a single run has none."""
    rng = np.random.default_rng(0)
    resamples = rng.integers(0, runs, (RESAMPLES if runs > 1 else 0, runs))
    return np.concatenate([np.arange(runs)[None], resamples])


def _pooled(x: _Floats, y: _Floats, draws: NDArray[np.int64]) -> Correlation | None:
    """Spearman's rank correlation over the checkpoints of all runs (1904, Am. J. Psychol. 15:72).

    x and y are (runs, steps).
    """
    ranks = (rankdata(each[draws].reshape(len(draws), -1), axis=1) for each in (x, y))
    return _correlation(*ranks)


def _at_equal_steps(x: _Floats, y: _Floats, draws: NDArray[np.int64]) -> Correlation | None:
    """The rank correlation among runs at equal steps, where there are three runs or more.

    Ranks are taken among the runs at each step and centred there; all of them are then correlated.
    """
    if len(x) < 3:
        return None
    ranks = (rankdata(each[draws], axis=1) for each in (x, y))
    return _correlation(*((each - each.mean(1, keepdims=True)).reshape(len(draws), -1) for each in ranks))


def _correlation(x: _Floats, y: _Floats) -> Correlation | None:
    """Pearson's correlation of the first rows, with the percentiles of the others': (draws, values) each.

    Returns:
        None where either does not vary.
    """
    x, y = (each - each.mean(1, keepdims=True) for each in (x, y))
    scale = np.sqrt((x * x).sum(1) * (y * y).sum(1))
    if not (scale[0] > 0):
        return None
    drawn = (x * y).sum(1)[scale > 0] / scale[scale > 0]
    if len(drawn) == 1:
        return Correlation(float(drawn[0]), None)
    low, high = np.quantile(drawn[1:], [0.025, 0.975])
    return Correlation(float(drawn[0]), Interval(float(low), float(high)))
