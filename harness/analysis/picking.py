"""The best of several recipes, picked by some deals and measured by others.

The best of many is flattered by the deals that picked it: of recipes that are all alike, the luckiest leads.
So the deals are cut in two halves, those at even and those at odd places, and each half measures the recipe
that the other half picks (cross-fitting). With several seeds, a seed's halves measure what the *other* seeds
pick, since a checkpoint's own luck is on both of its halves. Of equals the first recipe counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from points24.harness.analysis.retention import Bits, Outcomes, Scales

HALVES = (slice(0, None, 2), slice(1, None, 2))
"""The deals at even places, and those at odd ones."""
_DIGITS = 12
"""Merits that agree to so many digits are equal: sums of the same numbers may differ in the last bits."""


def merits_of(scales: Scales, recipes: Sequence[Outcomes]) -> NDArray[np.float64] | None:
    """What each recipe is worth on each half, (2, recipes); None where it is not defined on a half."""
    merits = [[scales.merit(each, half) for each in recipes] for half in HALVES]
    if not recipes or any(merit is None for row in merits for merit in row):
        return None
    return np.array(merits, float)


def cross_picks(merits: NDArray[np.float64]) -> NDArray[np.intp]:
    """The recipe that each half of each seed measures: the best on the other half, in the other seeds.

    Args:
        merits: (seeds, 2 halves, recipes).

    Returns:
        Indices of recipes, (seeds, 2 halves).
    """
    alone = len(merits) == 1
    others = [merits if alone else np.delete(merits, seed, axis=0) for seed in range(len(merits))]
    means = np.array([each.mean(axis=0) for each in others]).round(_DIGITS)
    return means[:, ::-1].argmax(axis=2)


def joined(even: Outcomes, odd: Outcomes) -> Outcomes:
    """The outcomes of one checkpoint at even places and of another at odd ones."""

    def mixed(a: Bits, b: Bits) -> Bits:
        return np.where(np.arange(len(a)) % 2 == 0, a, b)

    ids = None if even.id is None or odd.id is None else mixed(even.id, odd.id)
    return Outcomes(mixed(even.ood, odd.ood), ids)
