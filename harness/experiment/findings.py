"""What the paper claims, how a reproduction measures it, and by which rule a claim holds.

The rules were fixed before the runs they judge. The paper is arXiv:2508.16546; arXiv:2509.12235 is its
follow-up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from points24.harness.analysis.recovery import Recovered
from points24.harness.experiment.manifest import STARTS, Drift, Seed
from points24.harness.experiment.measures import (
    FLEXIBLE,
    STRICT,
    Measure,
    Reproduction,
    Value,
    accuracy,
    at_picks,
    bits,
    gain,
    gain_of_bits,
    less,
    peak_picks,
    ratio,
)

HOLDS, FAILS, OPEN = "holds", "does not hold", "inconclusive"

CLAIMED, AT_LEAST = 0.7, 0.5
"""Of the lost OOD accuracy: the least that the paper says is recovered, and what chance must leave of it."""

DIRECTIONS, VALUES = "directions, all ranks", "values, all ranks"
TOP_RANKS, FIRST_LAYERS = "directions, top 20% of ranks", "directions, all ranks, first 25% of layers"
BASELINES = ("interpolate 0.5", "reset, first 25% of layers")
"""Labels of the recipes that the findings need; a sweep may have more."""
RECIPES = (DIRECTIONS, TOP_RANKS, FIRST_LAYERS, VALUES, *BASELINES)

ABOVE_RULE = (
    "A number is above a bound if each of its 95 % intervals lies above it, and not above it if each ends at "
    "the bound or below: the interval over the seeds and the one over the deals, or with one seed the one "
    "over the deals alone. A claim that needs several numbers above a bound holds if all are, does not hold "
    "if one is not, and is inconclusive otherwise, or where a number is missing."
)


@dataclass(frozen=True)
class Claim:
    """One verdict."""

    label: str
    """``2a``."""
    what: str
    """In a few words."""
    paper: str
    """What the paper reports, in a few words."""
    rule: str
    decides: tuple[Measure, ...]
    context: tuple[Measure, ...]
    """Further measures, which do not decide."""
    verdict: str
    caveat: Measure | None = None
    """A measure of the context that qualifies the verdict and is shown beside it."""


@dataclass(frozen=True)
class Finding:
    title: str
    paper: str
    """What the paper says, in our words."""
    source: str
    claims: tuple[Claim, ...]
    note: str = ""
    """How to read its numbers."""


def findings(found: Reproduction) -> list[Finding]:
    """The paper's findings in its order, after the setting that they all start from."""
    return [_forgetting(found), _restored(found), _directions(found), _cheap(found), _better_in(found)]


def above_zero(measures: Sequence[Measure]) -> str:
    """The verdict on a claim that all are above 0."""
    if all(measure.is_above(0) for measure in measures):
        return HOLDS
    return FAILS if any(measure.is_not_above(0) for measure in measures) else OPEN


def recovers(share: Measure) -> str:
    """The verdict on a claim that 70 % or more of a loss is recovered."""
    if share.mean is not None and share.mean >= CLAIMED and share.is_above(AT_LEAST):
        return HOLDS
    return FAILS if share.is_not_above(CLAIMED) else OPEN


def _forgetting(found: Reproduction) -> Finding:
    def peak(place: int, name: str, *, final: bool = False) -> Value:
        """OOD at the peak, less that of step 0 or of the final step."""
        strict, here = found.curves[place][STRICT], found.curves[place][name].ood
        return gain_of_bits(at_picks(here, peak_picks(strict)), bits(here[strict.final if final else 0]))

    rise = found.over_seeds("OOD: peak − step 0", "points", lambda i, _: peak(i, STRICT))
    fall = found.over_seeds("OOD: peak − final", "points", lambda i, _: peak(i, STRICT, final=True))
    of_id = found.over_seeds(
        "ID: final − best OOD checkpoint",
        "points",
        lambda _, s: gain(found.get(s.final, "id"), found.get(s.best_ood, "id")),
    )
    lenient = found.over_seeds("OOD, flexible: peak − step 0", "points", lambda i, _: peak(i, FLEXIBLE))
    in_format = found.over_seeds(
        "of the rise: learning the format",
        "points",
        lambda i, _: less(peak(i, STRICT), peak(i, FLEXIBLE)),
    )
    lenient_fall = found.over_seeds(
        "OOD, flexible: peak − final", "points", lambda i, _: peak(i, FLEXIBLE, final=True)
    )
    decides = (rise, fall, of_id)
    return Finding(
        "SFT on one rule: OOD accuracy rises, peaks and falls, while ID keeps rising",
        "OOD accuracy peaks early in SFT and then falls, and the loss does not show where. Everything below "
        "starts from here.",
        "arXiv:2509.12235, abstract, (1); the setting of arXiv:2508.16546",
        (
            Claim(
                "0",
                "OOD rises, peaks and falls",
                "OOD accuracy peaks early in SFT, then falls",
                "the OOD peak is above step 0 and above the final step, and ID at the final step above "
                "ID at the best OOD checkpoint",
                decides,
                (lenient, in_format, lenient_fall),
                above_zero(decides),
                lenient,
            ),
        ),
        "A peak flatters itself if the deals that pick it also measure it. So each half of the deals is "
        "measured at the step that the other half picks, under strict-match; the flexible rows use the same "
        "steps. The rise less the flexible rise is the part of it that is learning to reply in the format.",
    )


def _restored(found: Reproduction) -> Finding:
    def gained(start: str) -> Measure:
        return found.over_seeds(
            f"OOD gain, {start} start",
            "points",
            lambda _, s: gain(found.final(s, start, "ood"), found.start(s, start, "ood")),
        )

    def share(start: str) -> Measure:
        return found.over_seeds(
            f"restored, {start} start",
            "percent",
            lambda _, s: ratio(
                found.final(s, start, "ood"),
                found.get(s.best_ood, "ood"),
                found.start(s, start, "ood"),
            ),
        )

    gains, shares = ({start: of(start) for start in STARTS} for of in (gained, share))
    pairs = zip(shares["middle"].values, shares["late"].values, strict=True)
    gap = Measure("restored: middle − late", "percent", tuple(less(a, b) for a, b in pairs))
    of_id = [
        found.over_seeds(
            f"ID gain, {start} start",
            "points",
            lambda _, s, start=start: gain(found.final(s, start, "id"), found.start(s, start, "id")),
        )
        for start in found.starts
    ]
    decides = (gains["middle"], gap)
    return Finding(
        "RL restores much of what SFT lost on OOD, but not after severe over-fitting",
        "PPO restores most of the OOD accuracy that SFT has lost (Llama-3.2-11B 8.97 to 15.38 %, "
        "Qwen2.5-7B 17.09 to 19.66 %); once SFT has over-fitted severely, it no longer can.",
        "arXiv:2508.16546, abstract, first finding",
        (
            Claim(
                "1",
                "RL restores OOD, but not after over-fitting",
                "8.97 → 15.38 % (Llama-3.2-11B), 17.09 → 19.66 % (Qwen2.5-7B); not after severe over-fitting",
                "PPO from the middle start gains on OOD, and restores a larger share of its start's loss "
                "than from the late start",
                decides,
                (
                    *(gains[start] for start in found.starts if start != "middle"),
                    *(shares[start] for start in found.starts),
                    *of_id,
                ),
                above_zero(decides),
            ),
        ),
        "Gain: the final PPO checkpoint less its start. Restored: that gain as a share of what the "
        "start had lost against the best OOD checkpoint; not defined where the start is not "
        "below it, and wide where it is hardly so.",
    )


def _directions(found: Reproduction) -> Finding:
    def ood(label: str) -> Measure:
        return _of_recipe(found, f"OOD gain, {label}", label, _ood_gain)

    def of_id(label: str) -> Measure:
        return _of_recipe(found, f"ID, {label}", label, _id_gain)

    pairs = zip(ood(DIRECTIONS).values, ood(VALUES).values, strict=True)
    gap = Measure("OOD: directions − values, all ranks", "points", tuple(less(a, b) for a, b in pairs))
    decides = _spectrum(found, "best OOD")
    return Finding(
        "Directions of singular vectors matter more than singular values, and shift at both ends of the "
        "spectrum",
        "Turned singular vectors, not changed singular values, are what OOD accuracy depends on; the "
        "turning is concentrated at the largest and the smallest singular values and spares the bulk.",
        "arXiv:2508.16546, abstract, second finding",
        (
            Claim(
                "2a",
                "directions matter more than values",
                "directions, not values, carry OOD accuracy",
                "the final SFT checkpoint with the best OOD checkpoint's directions is more accurate on OOD "
                "than with its singular values (all ranks)",
                (gap,),
                (ood(DIRECTIONS), ood(VALUES), of_id(DIRECTIONS), of_id(VALUES)),
                above_zero([gap]),
            ),
            Claim(
                "2b",
                "the shift sits at both ends of the spectrum",
                "largest and smallest singular values turn, the bulk does not",
                "from the best OOD checkpoint to the final one of SFT, the misalignment of the first "
                "tenth of the ranks and that of the last tenth are both above the mean of the eight between",
                decides,
                (
                    *_spectrum(found, "base"),
                    *_turned_back(found),
                    *(m for first in ("best OOD", "base") for m in _changes(found, first)),
                ),
                above_zero(decides),
            ),
        ),
        "Misalignment: 1 − |cosine| of right singular vectors of equal rank, mean over the matrices, less "
        "what rounding to bf16 alone gives. Vectors whose singular values lie close together turn into each "
        "other easily, wherever in the spectrum that is. Drift has no deals: with one seed 2b is "
        "inconclusive.",
    )


def _cheap(found: Reproduction) -> Finding:
    def share(label: str) -> Measure:
        return _of_recipe(found, f"recovered, {label}", label, _recovered, "percent")

    def cost(label: str) -> Measure:
        return _of_recipe(found, f"ID, {label}", label, _id_gain)

    rule = (
        f"the mean of the recovered share is at least {CLAIMED:.0%} and the share is above {AT_LEAST:.0%}; "
        f"it does not hold if the share is not above {CLAIMED:.0%}"
    ).replace("%", " %")
    ranks, layers = share(TOP_RANKS), share(FIRST_LAYERS)
    return Finding(
        "Restoring the top 20 % of ranks, or the first 25 % of layers, recovers 70 to 80 %",
        "Restoring the directions that go with the top 20 % of singular values, or those of the first "
        "quarter of the layers, recovers 70 to 80 % of the OOD accuracy, without training.",
        "arXiv:2508.16546, abstract, third finding",
        (
            Claim(
                "3a",
                "the top 20 % of ranks recover 70–80 %",
                "70–80 % recovered",
                rule,
                (ranks,),
                (cost(TOP_RANKS),),
                recovers(ranks),
            ),
            Claim(
                "3b",
                "the first 25 % of layers recover 70–80 %",
                "70–80 % recovered",
                rule,
                (layers,),
                (cost(FIRST_LAYERS), *(of(label) for label in BASELINES for of in (share, cost))),
                recovers(layers),
            ),
        ),
        "Recovered: the share of the OOD accuracy lost between the best OOD checkpoint and the final one of "
        "SFT that a recovered checkpoint regains. ID: against the final SFT checkpoint, what the recipe "
        "costs there. "
        "Baselines, which need no factors: the two checkpoints averaged, and whole layers copied back.",
    )


def _better_in(found: Reproduction) -> Finding:
    def at_final(better: str) -> Measure:
        return found.over_seeds(
            f"OOD at the final PPO checkpoint: {better} − late start",
            "points",
            lambda _, s: gain(found.final(s, better, "ood"), found.final(s, "late", "ood")),
        )

    def at_start(better: str) -> Measure:
        return found.over_seeds(
            f"OOD at the PPO start: {better} − late",
            "points",
            lambda _, s: gain(found.start(s, better, "ood"), found.start(s, "late", "ood")),
        )

    def in_gain(better: str) -> Measure:
        pairs = zip(at_final(better).values, at_start(better).values, strict=True)
        return Measure(
            f"OOD gain by PPO: {better} − late start", "points", tuple(less(a, b) for a, b in pairs)
        )

    others = [start for start in STARTS if start != "late"]
    decides = tuple(map(at_final, others))
    return Finding(
        "Better SFT checkpoints let RL recover more",
        "The better the SFT checkpoint is on OOD, the better is what RL makes of it; over-fitted ones "
        "resist.",
        "arXiv:2508.16546, abstract, fourth finding",
        (
            Claim(
                "4",
                "better in, better out",
                "better SFT checkpoints let RL recover more",
                "OOD accuracy of the final PPO checkpoint is higher from the early start, and from the "
                "middle one, than from the late one",
                decides,
                tuple(of(start) for of in (at_start, in_gain) for start in others if start in found.starts),
                above_zero(decides),
                in_gain("early"),
            ),
        ),
        "A better final checkpoint may owe it to the better start alone: the gain by PPO "
        "tells the two apart, and does not decide.",
    )


def of_recipe(found: Reproduction, label: str) -> tuple[Measure, Measure, Measure]:
    """A recipe's OOD accuracy, the recovered share, and its ID accuracy less that of SFT final."""
    return (
        _of_recipe(found, "OOD", label, lambda _, __, checkpoint: accuracy(checkpoint.ood.record), "percent"),
        _of_recipe(found, "recovered", label, _recovered, "percent"),
        _of_recipe(found, "ID against SFT final", label, _id_gain),
    )


def _of_recipe(
    found: Reproduction,
    name: str,
    label: str,
    value: Callable[[Reproduction, int, Recovered], Value | None],
    unit: str = "points",
) -> Measure:
    def of(place: int, _: object) -> Value | None:
        checkpoint = found.recovered(place, label)
        return checkpoint and value(found, place, checkpoint)

    return found.over_seeds(name, unit, of)


def _ood_gain(found: Reproduction, place: int, checkpoint: Recovered) -> Value | None:
    return gain(checkpoint.ood.record, found.get(found.seeds[place].final, "ood"))


def _id_gain(found: Reproduction, place: int, checkpoint: Recovered) -> Value | None:
    return gain(checkpoint.id and checkpoint.id.record, found.get(found.seeds[place].final, "id"))


def _recovered(found: Reproduction, place: int, checkpoint: Recovered) -> Value | None:
    seed = found.seeds[place]
    return ratio(checkpoint.ood.record, found.get(seed.best_ood, "ood"), found.get(seed.final, "ood"))


def _drift(found: Reproduction, place: int, first: str) -> Drift | None:
    seed = found.seeds[place]
    return found.drift(seed, found.parts(seed)[first], seed.final)


def _spectrum(found: Reproduction, first: str) -> tuple[Measure, Measure]:
    """Misalignment of the first and of the last tenth of the ranks, less the mean of those between."""

    def of(place: int, tenth: int) -> Value | None:
        if (drift := _drift(found, place, first)) is None:
            return None
        each = drift.misalignment
        return Value(each[tenth] - sum(each[1:-1]) / len(each[1:-1]))

    name = f"misalignment, {first} to SFT final"
    return (
        found.over_seeds(f"{name}: first tenth − middle", "number", lambda i, _: of(i, 0)),
        found.over_seeds(f"{name}: last tenth − middle", "number", lambda i, _: of(i, -1)),
    )


def _turned_back(found: Reproduction) -> list[Measure]:
    """Mean misalignment from the best OOD checkpoint: PPO final, late start, less SFT final."""

    def of(place: int, seed: Seed) -> Value | None:
        if "late" not in seed.ppo:
            return None
        before = _drift(found, place, "best OOD")
        after = found.drift(seed, seed.best_ood, seed.ppo["late"].final)
        return Value(fmean(after.misalignment) - fmean(before.misalignment)) if before and after else None

    name = "misalignment from best OOD, all ranks: PPO final, late start − SFT final"
    return [found.over_seeds(name, "number", of)] if "late" in found.starts else []


def _changes(found: Reproduction, first: str) -> tuple[Measure, Measure]:
    """Relative change of the singular values, and of the matrices."""

    def of(place: int, *, values: bool) -> Value | None:
        drift = _drift(found, place, first)
        return drift and Value(drift.values if values else drift.change)

    name = f"{first} to SFT final: relative change of"
    return (
        found.over_seeds(f"{name} singular values", "percent", lambda i, _: of(i, values=True)),
        found.over_seeds(f"{name} matrices", "percent", lambda i, _: of(i, values=False)),
    )
