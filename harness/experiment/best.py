"""The best recipe over the seeds, measured by deals and seeds that did not pick it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from points24.harness.analysis.picking import cross_picks, joined, merits_of
from points24.harness.analysis.retention import Outcomes, Shares
from points24.harness.experiment.measures import Measure, Reproduction
from points24.harness.experiment.values import share_values, value_of


@dataclass(frozen=True, eq=False)
class Best:
    """The best of several recipes: see `points24.harness.analysis.picking`."""

    among: int
    picks: dict[str, int]
    """Label -> how many halves of seeds measure it; the most frequent first."""
    outcomes: tuple[Outcomes, ...]
    """For each seed, those of what its halves measure."""
    recovered: Measure
    retained: Measure
    harmonic: Measure

    @property
    def merit(self) -> Measure:
        """What it was picked by: the harmonic mean, or the recovered share where SFT gained nothing on ID."""
        return self.recovered if self.harmonic.mean is None else self.harmonic

    @property
    def halves(self) -> int:
        return sum(self.picks.values())


def best_of(found: Reproduction, labels: Collection[str]) -> Best | None:
    """The best of the recipes with these labels.

    Recipes that a seed lacks are left out. None where no recipe is left, or the shares are not defined on a
    half of a seed.
    """
    pairs = [pair for pair in found.recoveries if pair]
    common = sorted(
        label for label in labels if all(found.recovered(i, label) for i in range(len(found.seeds)))
    )
    each = [
        [made.outcomes for label in common if (made := found.recovered(place, label))]
        for place in range(len(found.seeds))
    ]
    merits = [merits_of(pair.scales, outcomes) for pair, outcomes in zip(pairs, each, strict=False)]
    known = [merit for merit in merits if merit is not None]
    if not common or len(known) < len(found.seeds):
        return None
    picks = cross_picks(np.array(known))
    outcomes = tuple(joined(own[even], own[odd]) for own, (even, odd) in zip(each, picks, strict=True))
    shares = [pair.scales.shares(own) for pair, own in zip(pairs, outcomes, strict=True)]
    counts = Counter(common[pick] for pick in picks.ravel())

    values = [
        share_values(own, id_is_scored=each.id is not None)
        for own, each in zip(shares, outcomes, strict=True)
    ]

    return Best(
        len(common),
        dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        outcomes,
        *(Measure(name, "percent", tuple(own[name] for own in values)) for name in Shares._fields),
    )


def lead_of(found: Reproduction, one: Best, other: Best) -> Measure:
    """How far one is ahead of another, by harmonic mean."""
    pairs = [pair for pair in found.recoveries if pair]
    leads = [pair.scales.lead(a, b) for pair, a, b in zip(pairs, one.outcomes, other.outcomes, strict=True)]
    return Measure("lead", "points", tuple(map(value_of, leads)))
