"""What the paper claims, the measures that decide each claim here, and the rule by which it holds.

The rules were fixed before the runs that they judge. The paper is arXiv:2508.16546; arXiv:2509.12235 is its
follow-up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import fmean

from points24.harness.analysis.curve import Curve
from points24.harness.analysis.retention import Shares, bits_of
from points24.harness.experiment.loss_finding import loss_finding
from points24.harness.experiment.manifest import STARTS, Drift, Seed
from points24.harness.experiment.measures import Measure, Reproduction, drift_of, gain_of, ratio_of
from points24.harness.experiment.values import (
    Value,
    accuracy,
    at_picks,
    gain,
    gain_of_bits,
    peak_picks,
    share_values,
)
from points24.harness.experiment.verdicts import FAILS, Claim, Finding, above_zero, recovers
from points24.tasks.verdict import FLEXIBLE, STRICT

DIRECTIONS, VALUES = "directions, all ranks", "values, all ranks"
TOP_RANKS, FIRST_LAYERS = "directions, top 20% of ranks", "directions, all ranks, first 25% of layers"
SCRIPT_LAYERS = "paper-scripts, directions, top 4096 ranks, first 25% of layers"
"""What the paper's script for layers does: it copies whole matrices, and for Llama the embeddings and the
output layer as well."""
BASELINES = ("interpolate 0.5", "reset, first 25% of layers")
RECIPES = (DIRECTIONS, TOP_RANKS, FIRST_LAYERS, SCRIPT_LAYERS, VALUES, *BASELINES)
"""Labels of the recipes that the findings need; a sweep may have more."""


def findings(found: Reproduction) -> list[Finding]:
    """The paper's findings in its order, after the setting that they all start from."""
    shown = [loss_finding(found)] if found.shifts.runs else []
    others = (_restored, _directions, _subspaces, _starts)
    return [_forgetting(found), *shown, *(each(found) for each in others)]


def _forgetting(found: Reproduction) -> Finding:
    decides = (
        _peak(found, "OOD: peak − step 0", STRICT),
        peak_less_final(found),
        gain_of(found, "ID: final − best OOD checkpoint", "SFT final", "best OOD", "id"),
    )
    flexible = _peak(found, "OOD, flexible: peak − step 0", FLEXIBLE)
    claim = Claim(
        label="0",
        what="OOD rises, peaks and falls",
        paper="OOD accuracy peaks early in SFT, then falls",
        rule="the OOD peak is above step 0 and above the final step, and ID at the final step above ID at "
        "the best OOD checkpoint; it does not hold if every seed peaks at the final step",
        verdict=FAILS if all(map(_still_rises, found.curves)) else above_zero(decides),
        decides=decides,
        context=(
            flexible,
            decides[0].minus(flexible, "of the rise: learning the format"),
            _peak(found, "OOD, flexible: peak − final", FLEXIBLE, final=True),
        ),
        caveat=flexible,
    )
    return Finding(
        title="SFT on one rule: OOD accuracy rises, peaks and falls, while ID keeps rising",
        paper="OOD accuracy peaks early in SFT and then falls, and the loss does not show where. All other "
        "findings start from here.",
        source="arXiv:2509.12235, abstract, (1); the setting of arXiv:2508.16546",
        claims=(claim,),
        note="A peak that is picked and measured by the same deals is biased upwards. So each half of the "
        "deals is measured at the step that the other half picks, under strict-match; the flexible rows use "
        "the same steps. The rise less the flexible rise is what comes from learning the reply format.",
    )


def _restored(found: Reproduction) -> Finding:
    def of(start: str) -> tuple[str, str]:
        return f"PPO final, {start} start", f"PPO start, {start}"

    gains = {start: gain_of(found, f"OOD gain, {start} start", *of(start)) for start in STARTS}
    shares = {start: ratio_of(found, f"restored, {start} start", *of(start)) for start in STARTS}
    decides = (gains["middle"], shares["middle"].minus(shares["late"], "restored: middle − late"))
    claim = Claim(
        label="1",
        what="RL restores OOD, but not after over-fitting",
        paper="8.97 → 15.38 % (Llama-3.2-11B), 17.09 → 19.66 % (Qwen2.5-7B); not after severe over-fitting",
        rule="PPO from the middle start gains on OOD, and restores a larger share of its start's loss than "
        "from the late start",
        verdict=above_zero(decides),
        decides=decides,
        context=(
            *(gains[start] for start in found.starts if start != "middle"),
            *(shares[start] for start in found.starts),
            *(gain_of(found, f"ID gain, {start} start", *of(start), "id") for start in found.starts),
        ),
    )
    return Finding(
        title="RL restores much of what SFT lost on OOD, but not after severe over-fitting",
        paper="PPO restores most of the OOD accuracy that SFT has lost (Llama-3.2-11B 8.97 to 15.38 %, "
        "Qwen2.5-7B 17.09 to 19.66 %); once SFT has over-fitted severely, it no longer can.",
        source="arXiv:2508.16546, abstract, first finding",
        claims=(claim,),
        note="Gain: the final PPO checkpoint less its start. Restored: that gain as a share of what the "
        "start had lost against the best OOD checkpoint; not defined where these deals hardly tell the "
        "two apart.",
    )


def _directions(found: Reproduction) -> Finding:
    gains = {
        label: gain_of(found, f"OOD gain, {label}", label, "SFT final") for label in (DIRECTIONS, VALUES)
    }
    gap = gains[DIRECTIONS].minus(gains[VALUES], "OOD: directions − values, all ranks")
    directions = Claim(
        label="2a",
        what="directions matter more than values",
        paper="directions, not values, carry OOD accuracy",
        rule="the final SFT checkpoint is more accurate on OOD with the best OOD checkpoint's directions "
        "than with its singular values (all ranks)",
        verdict=above_zero([gap]),
        decides=(gap,),
        context=(*gains.values(), *(_id_cost(found, label) for label in gains)),
    )
    decides = _spectrum(found, "best OOD")
    ends = Claim(
        label="2b",
        what="the shift sits at both ends of the spectrum",
        paper="directions turn at the largest and smallest singular values, not in between",
        rule="from the best OOD checkpoint to the final one of SFT, the misalignment of the first tenth of "
        "the ranks and that of the last tenth are both above the mean of the eight between",
        verdict=above_zero(decides),
        decides=decides,
        context=(
            *_spectrum(found, "base"),
            *_turned_back(found),
            *_changes(found, "best OOD"),
            *_changes(found, "base"),
        ),
    )
    return Finding(
        title="Directions of singular vectors matter more than singular values, and shift at both ends of "
        "the spectrum",
        paper="OOD accuracy depends on the directions of singular vectors, not on singular values; they turn "
        "most at the largest and the smallest singular values, and hardly in between.",
        source="arXiv:2508.16546, abstract, second finding; for 2c arXiv:2509.12235 and its script for Qwen",
        claims=(directions, ends, _reverse(found)),
        note="Misalignment: 1 − |cosine| of right singular vectors of equal rank, mean over the matrices, "
        "less what rounding to bf16 alone gives. Vectors whose singular values lie close together turn into "
        "each other easily, anywhere in the spectrum. Drift has no deals: with one seed 2b is inconclusive. "
        "Undone: what the final PPO checkpoint loses if it gets the directions, or the values, of the final "
        "SFT checkpoint (2c). Where PPO ends no better than SFT, there is nothing to undo.",
    )


def _reverse(found: Reproduction) -> Claim:
    undone = {label: _undone(found, "middle", label) for label in (DIRECTIONS, VALUES)}
    deciding = (
        undone[DIRECTIONS],
        undone[DIRECTIONS].minus(undone[VALUES], "OOD undone, middle start: directions − values"),
    )
    return Claim(
        label="2c",
        what="directions of SFT undo RL",
        paper="SFT's directions put into the RL-tuned model lower its accuracy",
        rule="the final PPO checkpoint from the middle start is more accurate on OOD than with the final SFT "
        "checkpoint's directions (all ranks), and loses more by these than by its singular values",
        verdict=above_zero(deciding),
        decides=deciding,
        context=(
            undone[VALUES],
            *(_undone(found, start, DIRECTIONS) for start in found.starts if start != "middle"),
            *(_undone(found, start, DIRECTIONS, "id") for start in found.starts),
        ),
    )


def _subspaces(found: Reproduction) -> Finding:
    rule = (
        "the mean of the recovered share is at least 70 % and the share is above 50 %; it does not hold if "
        "the share is not above 70 %"
    )

    def claim(label: str, what: str, recipe: str, *others: Measure) -> Claim:
        share = _recovered(found, recipe)
        return Claim(
            label=label,
            what=what,
            paper="70–80 % recovered",
            rule=rule,
            verdict=recovers(share),
            decides=(share,),
            context=(_id_cost(found, recipe), *others),
        )

    baselines = (of(found, label) for label in BASELINES for of in (_recovered, _id_cost))
    return Finding(
        title="Restoring the top 20 % of ranks, or the first 25 % of layers, recovers 70 to 80 %",
        paper="Restoring the directions of the top 20 % of singular values, or those of the first quarter of "
        "the layers, recovers 70 to 80 % of the OOD accuracy, without training.",
        source="arXiv:2508.16546, abstract, third finding",
        claims=(
            claim("3a", "directions of the top 20 % of ranks recover 70–80 %", TOP_RANKS),
            claim("3b", "directions in the first 25 % of layers recover 70–80 %", FIRST_LAYERS),
            claim(
                "3c",
                "the first 25 % of layers, copied as the paper's script does, recover 70–80 %",
                SCRIPT_LAYERS,
                *baselines,
            ),
        ),
        note="Recovered: the share of the OOD accuracy lost between the best OOD checkpoint and the final "
        "one of SFT that a recovered checkpoint regains. ID: against the final SFT checkpoint, what the "
        "recipe costs there. 3b tests what the abstract says, 3c what the script for layers does: with 4096 "
        "ranks asked for, it takes every matrix of these layers from the source, values included, and for "
        "Llama the embeddings and the output layer too. Baselines, which need no factors: the two "
        "checkpoints averaged, and whole layers copied back.",
    )


def _starts(found: Reproduction) -> Finding:
    others = [start for start in STARTS if start != "late"]
    finals, firsts, gains = {}, {}, {}
    for start in others:
        parts = (f"PPO final, {start} start", "PPO final, late start")
        finals[start] = gain_of(found, f"OOD at the final PPO checkpoint: {start} − late start", *parts)
        parts = (f"PPO start, {start}", "PPO start, late")
        firsts[start] = gain_of(found, f"OOD at the PPO start: {start} − late", *parts)
        gains[start] = finals[start].minus(firsts[start], f"OOD gain by PPO: {start} − late start")
    decides = tuple(finals.values())
    claim = Claim(
        label="4",
        what="better in, better out",
        paper="better SFT checkpoints let RL recover more",
        rule="OOD accuracy of the final PPO checkpoint is higher from the early start, and from the middle "
        "one, than from the late one",
        verdict=above_zero(decides),
        decides=decides,
        context=tuple(of[start] for of in (firsts, gains) for start in others if start in found.starts),
        caveat=gains["early"],
    )
    return Finding(
        title="Better SFT checkpoints let RL recover more",
        paper="The better the SFT checkpoint is on OOD, the better is what RL makes of it; over-fitted ones "
        "resist.",
        source="arXiv:2508.16546, abstract, fourth finding",
        claims=(claim,),
        note="A final checkpoint may be better because its start was. The gain by PPO tells the two apart; "
        "it does not decide.",
    )


def of_recipe(found: Reproduction, label: str) -> tuple[Measure, ...]:
    """A recipe's recovered and retained share, their harmonic mean, and its OOD and ID accuracy."""

    def share(name: str) -> Measure:
        def of(place: int, _: Seed) -> Value | None:
            made = found.recovered(place, label)
            return share_values(made.shares, id_is_scored=made.id is not None)[name] if made else None

        return found.over_seeds(name, "percent", of)

    def scored(hand_set: str) -> Measure:
        return found.over_seeds(
            hand_set, "percent", lambda place, _: accuracy(found.score(place, label, hand_set))
        )

    return *map(share, Shares._fields), scored("ood"), scored("id")


def _recovered(found: Reproduction, label: str) -> Measure:
    return ratio_of(found, f"recovered, {label}", label, "SFT final")


def _id_cost(found: Reproduction, label: str) -> Measure:
    return gain_of(found, f"ID, {label}", label, "SFT final", "id")


def _undone(found: Reproduction, start: str, label: str, hand_set: str = "ood") -> Measure:
    """Accuracy of the final PPO checkpoint less that of itself with a part of the final SFT checkpoint."""

    def of(place: int, seed: Seed) -> Value | None:
        made = found.recovered(place, label, reverse=start)
        score = made and (made.ood if hand_set == "ood" else made.id)
        return gain(found.get(seed.ppo[start].final, hand_set), score.record) if score else None

    title = "OOD" if hand_set == "ood" else "ID"
    return found.over_seeds(f"{title} undone, {start} start, {label}", "points", of)


def peak_less_final(found: Reproduction) -> Measure:
    """How far OOD accuracy falls, by halves of the deals that do not pick the peak."""
    return _peak(found, "OOD: peak − final", STRICT, final=True)


def _peak(found: Reproduction, name: str, filter_: str, *, final: bool = False) -> Measure:
    """OOD accuracy at the strict peak less that at step 0 or, with `final`, at the final step."""

    def of(place: int, _: Seed) -> Value:
        strict, records = found.curves[place][STRICT], found.curves[place][filter_].ood
        return gain_of_bits(
            at_picks(records, peak_picks(strict)), bits_of(records[strict.final if final else 0])
        )

    return found.over_seeds(name, "points", of)


def _still_rises(curves: Mapping[str, Curve]) -> bool:
    """Whether the final step is the OOD peak itself: then the fall is 0 by definition, not by chance."""
    return set(peak_picks(curves[STRICT])) == {curves[STRICT].final}


def _spectrum(found: Reproduction, first: str) -> tuple[Measure, Measure]:
    """Misalignment of the first and of the last tenth of the ranks, less the mean of those between."""
    name = f"misalignment, {first} to SFT final"

    def of(tenth: int) -> Callable[[Drift], float]:
        return lambda drift: drift.misalignment[tenth] - fmean(drift.misalignment[1:-1])

    return (
        drift_of(found, f"{name}: first tenth − middle", "number", first, of(0)),
        drift_of(found, f"{name}: last tenth − middle", "number", first, of(-1)),
    )


def _turned_back(found: Reproduction) -> list[Measure]:
    """Mean misalignment from the best OOD checkpoint: PPO final, late start, less SFT final."""

    def of(_: int, seed: Seed) -> Value | None:
        before = found.drift(seed, seed.best_ood, seed.final)
        after = found.drift(seed, seed.best_ood, seed.ppo["late"].final)
        return Value(fmean(after.misalignment) - fmean(before.misalignment)) if before and after else None

    name = "misalignment from best OOD, all ranks: PPO final, late start − SFT final"
    return [found.over_seeds(name, "number", of)] if "late" in found.starts else []


def _changes(found: Reproduction, first: str) -> tuple[Measure, Measure]:
    """Relative change of the singular values, and of the matrices."""
    name = f"{first} to SFT final: relative change of"
    return (
        drift_of(found, f"{name} singular values", "percent", first, lambda drift: drift.values),
        drift_of(found, f"{name} matrices", "percent", first, lambda drift: drift.change),
    )
