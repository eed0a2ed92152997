"""The curve of one training run: what it scores step by step, which step is best, where forgetting begins.

Pure: records in, values out. Step 0 is the checkpoint that the run started from, its parent.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import takewhile

from points24.harness.analysis.comparison import ALPHA, difference, terms_of
from points24.harness.analysis.statistics import Interval, holm
from points24.harness.records.record import Record
from points24.tasks.errors import InputError
from points24.tasks.verdict import FILTERS

HAND_SETS = {"id": "id", "id_heldout": "id", "ood": "ood"}
"""The hand sets of a curve, and the rule that each is played under."""

_CHECKPOINT = re.compile(r"/checkpoint-\d+$")


@dataclass(frozen=True)
class Curve:
    """The scores of one run under one filter."""

    run: str
    """The checkpoints' name without ``/checkpoint-N``."""
    stage: str | None
    parent: str | None
    filter: str
    scores: dict[str, dict[int, Record]]
    """Hand set -> step -> record, steps ascending. `ood` has at least one of the run's own steps; the other
    hand sets may lack steps."""

    @property
    def ood(self) -> dict[int, Record]:
        return self.scores["ood"]

    @property
    def final(self) -> int:
        """The last step that is scored on `ood`."""
        return max(self.ood)

    @property
    def steps(self) -> list[int]:
        """The steps that are scored on any hand set, ascending."""
        return sorted({step for records in self.scores.values() for step in records})


@dataclass(frozen=True)
class Forgetting:
    """Where OOD accuracy peaks, whether the final step is below that, and if so, where the fall begins."""

    peak: int
    """The first step with the highest OOD accuracy. It may be step 0: a run may only forget."""
    peak_from: int
    """Where the peak's interval begins: the unbroken stretch of steps around it that do not differ from it
    significantly."""
    peak_to: int
    seen_by: int | None
    """The first step after `peak_to` if forgetting is seen: forgetting begins between the two."""
    final: int
    """The last step."""
    lost: float
    """OOD accuracy at the peak less that at the final step, 0 … 1."""
    interval: Interval
    """Tango's 95 % interval of `lost`, paired. It is optimistic: the same deals picked the peak."""
    p: float
    """Of the test that the peak and the final step are equally accurate; adjusted by Holm."""

    @property
    def begins_after(self) -> int | None:
        """The last step before forgetting; None where none is seen."""
        return None if self.seen_by is None else self.peak_to


def run_of(record: Record) -> tuple[str, str | None]:
    """The run that a checkpoint is of: its name without ``/checkpoint-N``, and its stage."""
    return _CHECKPOINT.sub("", record.model), record.stage


def is_scored(record: Record) -> bool:
    """Whether a record may stand in a curve: measured, in a single attempt, on a curve's hand set."""
    own_rule = HAND_SETS.get(record.hand_set) == record.rule
    return own_rule and record.attempts == 1 and record.status == "measured"


def is_one_of(record: Record, names: Collection[str]) -> bool:
    """Whether a name, as in `Record.parent`, means this checkpoint."""
    return record.model in names or record.label in names


def curve(records: Iterable[Record], filter_name: str = FILTERS[0]) -> Curve:
    """The curve that the records of one run and its parent give.

    Records of other filters and hand sets, of revision, of papers and of the parent's parent are left out.
    Where a checkpoint was scored several times, the newest record counts.

    Raises:
        InputError: no step is scored on `ood`; several runs or parents, or protocols on one hand set; a
            checkpoint of the run without step.
    """
    scored = [r for r in records if is_scored(r) and r.filter == filter_name]
    scored.sort(key=lambda r: (r.date or "", r.key))
    named = _parents(scored)
    own = [r for r in scored if not is_one_of(r, named)]
    if not any(r.step and r.hand_set == "ood" for r in own):
        raise InputError(f"no curve: no record of a training step on hand set ood under filter {filter_name}")
    runs, parents = {run_of(r) for r in own}, _parents(own)
    names = sorted(" ".join(filter(None, run)) for run in runs)
    if len(runs) > 1:
        raise InputError(f"records of several runs: {', '.join(names)}; expected one and its parent")
    if len(parents) > 1:
        raise InputError(f"{names[0]}: several parents: {', '.join(sorted(parents))}; expected one")
    if stepless := [r for r in own if r.step is None or r.step < 1]:
        raise InputError(f"{stepless[0].label}: step: expected at least 1, found {stepless[0].step}")
    scores: dict[str, dict[int, Record]] = {}
    for name in HAND_SETS:
        start = [(0, r) for r in scored if r.hand_set == name and is_one_of(r, parents)]
        steps = dict(start + [(r.step or 0, r) for r in own if r.hand_set == name])
        if len({terms_of(r) for r in steps.values()}) > 1:
            raise InputError(f"{names[0]}: records of several protocols on hand set {name}: not one curve")
        if steps:
            scores[name] = dict(sorted(steps.items()))
    ((run, stage),) = runs
    return Curve(run, stage, next(iter(parents), None), filter_name, scores)


def _parents(records: Iterable[Record]) -> set[str]:
    return {record.parent for record in records if record.parent is not None}


def best_ood(found: Curve) -> int:
    """The step of the run's own checkpoints with the highest OOD accuracy, the first of equals.

    Step 0 is not the run's, so this differs from `Forgetting.peak` where the run is never above its parent.
    """
    return max((step for step in found.ood if step), key=lambda step: found.ood[step].k)


def forgetting(found: Curve) -> Forgetting:
    """Whether the run has forgotten, and between which steps that begins.

    Every step whose outcomes differ from the peak's is tested against it, deal by deal (exact McNemar), with
    Holm's adjustment over these tests. Forgetting is seen only if the *final* step is significantly below the
    peak. It then begins after the last step of the unbroken stretch, from the peak on, that does not differ
    from the peak significantly. A later rise that does not last changes nothing.

    The same deals pick the peak. Holm's adjustment guards against that: any other step might have been the
    peak, and each such step has a test.
    """
    records, steps = found.ood, list(found.ood)
    peak = max(steps, key=lambda step: records[step].k)
    tests = {
        step: difference(records[step], records[peak]).p
        for step in steps
        if records[step].outcomes != records[peak].outcomes
    }
    p_holm = dict(zip(tests, holm(list(tests.values())), strict=True))

    def is_like_peak(step: int) -> bool:
        return p_holm.get(step, 1.0) >= ALPHA

    place = steps.index(peak)
    peak_from = [peak, *takewhile(is_like_peak, reversed(steps[:place]))][-1]
    like_peak = list(takewhile(is_like_peak, steps[place:]))
    final = steps[-1]
    fall = difference(records[peak], records[final])
    return Forgetting(
        peak=peak,
        peak_from=peak_from,
        peak_to=like_peak[-1],
        seen_by=None if is_like_peak(final) else steps[place + len(like_peak)],
        final=final,
        lost=fall.share,
        interval=fall.interval,
        p=p_holm.get(final, 1.0),
    )
