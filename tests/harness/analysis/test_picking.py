import numpy as np
import pytest

from points24.harness.analysis.picking import cross_picks, joined, merits_of
from points24.harness.analysis.retention import Outcomes, Scale, Scales


def test_each_half_measures_what_the_other_picks():
    # Recipe 0 is best at even places, recipe 2 at odd ones.
    assert cross_picks(np.array([[[0.9, 0.5, 0.1], [0.2, 0.3, 0.8]]])).tolist() == [[2, 0]]


def test_a_seed_measures_what_the_other_seeds_pick():
    # In seed 0 recipe 0 leads on both halves, in the others recipe 1 does.
    own = [[1.0, 0.1], [1.0, 0.1]]
    rest = [[0.2, 0.3], [0.2, 0.3]]
    assert cross_picks(np.array([own, rest, rest])).tolist() == [[1, 1], [0, 0], [0, 0]]


def test_of_equals_the_first_counts():
    # Both recipes have the same numbers in other seeds, and sums that differ in the last bits.
    merits = np.array([[[a, b], [a, b]] for a, b in ((0.1, 0.3), (0.2, 0.2), (0.3, 0.1), (0, 0))])
    assert len(set(merits[:, 0].sum(axis=0).tolist())) == 2
    assert cross_picks(merits)[3].tolist() == [0, 0]
    assert cross_picks(np.ones((1, 2, 3))).tolist() == [[0, 0]]


def test_joined_outcomes_alternate():
    even, odd = Outcomes(np.array([1.0, 1, 1, 1]), None), Outcomes(np.array([0.0, 0, 0, 0]), None)
    assert joined(even, odd).ood.tolist() == [1, 0, 1, 0]
    assert joined(even, odd).id is None


def test_merits_are_those_of_a_half():
    zero, one = np.zeros(8), np.ones(8)
    scales = Scales(Scale(zero, one, tuple(range(8))), None)
    lucky = Outcomes(np.array([1.0, 0, 1, 0, 1, 0, 0, 0]), None)
    found = merits_of(scales, [lucky])
    assert found is not None
    assert found.tolist() == [[0.75], [0]]
    assert merits_of(scales, []) is None


@pytest.mark.parametrize("half", [0, 1])
def test_a_half_on_which_nothing_was_lost_picks_nothing(half):
    one = np.ones(8)
    one[half::2] = 0
    scales = Scales(Scale(np.zeros(8), one, tuple(range(8))), None)
    assert merits_of(scales, [Outcomes(np.ones(8), None)]) is None
