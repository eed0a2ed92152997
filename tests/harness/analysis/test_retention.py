import numpy as np
import pytest

from points24.harness.analysis.comparison import recovered_share
from points24.harness.analysis.retention import Outcomes, Scale, Scales, Share, bits_of, harmonic_mean
from points24.tasks.cards import RULES, hand_of
from points24.tasks.hand_sets import hand_set
from tests.leaderboards.conftest import record


def scales(source, target, hands=None):
    """The scales of two checkpoints, each its OOD and its ID outcomes."""
    names = hands or (range(len(source[0])), range(1000, 1000 + len(source[1])))
    of_ood, of_id = (
        Scale(np.array(zero, float), np.array(one, float), tuple(own))
        for zero, one, own in ((target[0], source[0], names[0]), (source[1], target[1], names[1]))
    )
    return Scales(of_ood, of_id)


def outcomes(ood, of_id):
    return Outcomes(np.array(ood, float), np.array(of_id, float))


def first(k, n=20):
    return [1] * k + [0] * (n - k)


@pytest.mark.parametrize(
    ("recovered", "retained", "mean"),
    [
        (1, 0, 0),  # the source
        (0, 1, 0),  # the target
        (0.5, 0.5, 0.5),
        (0.25, 0.75, 0.375),  # 2 · 0.1875 / 1
        (1, 1, 1),
        (1.5, 0.5, 2 / 3),  # no more than all counts: 2 · 1 · 0.5 / 1.5
        (-0.5, -0.5, 0),  # a product of losses is no gain
        (-0.5, 1, 0),
        (0, 0, 0),
    ],
)
def test_the_harmonic_mean_of_shares_within_0_and_1(recovered, retained, mean):
    assert harmonic_mean(recovered, retained) == pytest.approx(mean)
    assert harmonic_mean(np.array([recovered] * 2), np.array([retained] * 2)) == pytest.approx([mean] * 2)


def test_what_is_recovered_and_retained_by_hand():
    # OOD: target 4, source 14, of 20; ID: source 6, target 16.
    made = scales((first(14), first(6)), (first(4), first(16)))
    found = made.shares(outcomes(first(9), first(14)))
    assert found.recovered is not None
    assert found.retained is not None
    assert found.harmonic is not None
    assert (found.recovered.value, found.retained.value) == (5 / 10, 8 / 10)
    assert found.harmonic.value == pytest.approx(2 * 0.5 * 0.8 / 1.3)
    assert found.harmonic.interval is not None
    assert found.harmonic.interval.low < found.harmonic.value < found.harmonic.interval.high


def test_the_ends_recover_and_retain_all_or_nothing():
    source, target = (first(14), first(6)), (first(4), first(16))
    made = scales(source, target)
    assert [share and share.value for share in made.shares(outcomes(*source))] == [1, 0, 0]
    assert [share and share.value for share in made.shares(outcomes(*target))] == [0, 1, 0]


def test_both_shares_are_the_comparisons_and_are_undefined_with_it():
    of_id = {"task": "points24_id", "hand_set": "id", "rule": "id"}
    of_id["hand_set_digest"] = hand_set("id", RULES["id"]).digest

    def both(ood, k):
        return record("1" * ood + "0" * (20 - ood)), record("1" * k + "0" * (20 - k), **of_id)

    source, target, made = both(15, 8), both(3, 18), both(9, 14)
    found = Scales.of((source[0], target[0]), (source[1], target[1]))
    shares = found.shares(Outcomes(*map(bits_of, made)))
    assert shares.recovered == recovered_share(made[0], source[0], target[0])
    assert shares.retained == recovered_share(made[1], target[1], source[1])

    back = Scales.of((target[0], source[0]), (target[1], source[1]))  # lost nothing, gained nothing
    assert back.shares(Outcomes(*map(bits_of, made))) == (None, None, None)
    only_ood = Scales.of((source[0], target[0]), None)
    assert only_ood.shares(Outcomes(bits_of(made[0]), None)) == (shares.recovered, None, None)


def test_what_these_deals_hardly_tell_has_no_interval():
    made = scales((first(5), first(6)), (first(4), first(16)))  # OOD: 5 against 4
    found = made.shares(outcomes(first(5), first(14)))
    assert found.recovered == Share(1.0, None)
    assert found.harmonic is not None
    assert found.harmonic.interval is None


def test_a_hand_in_both_sets_is_drawn_for_both():
    # Every hand has the same outcome on both sets. Drawn together, a gain on the one is a gain on the other.
    hands = range(60)
    source, target = ([1] * 60, [0] * 60), ([0] * 60, [1] * 60)
    half = [1, 0] * 30
    together = scales(source, target, (hands, hands)).shares(outcomes(half, half)).harmonic
    apart = scales(source, target).shares(outcomes(half, half)).harmonic
    against = scales(source, target, (hands, hands)).shares(outcomes(half, half[::-1])).harmonic
    assert together is not None
    assert apart is not None
    assert against is not None
    widths = [each.interval.high - each.interval.low for each in (together, apart, against) if each.interval]
    assert widths[0] > 1.2 * widths[1] > 1.2 * widths[2]


def test_hands_that_come_twice_count_once():
    hands = [*range(30)] * 2
    source, target, half = ([1] * 60, [0] * 60), ([0] * 60, [1] * 60), ([1] * 15 + [0] * 15) * 2
    twice = scales(source, target, (hands, [h + 100 for h in hands])).shares(outcomes(half, half)).harmonic
    once = scales(source, target).shares(outcomes(half, half)).harmonic
    assert twice is not None
    assert once is not None
    assert twice.interval is not None
    assert once.interval is not None
    assert np.diff(twice.interval) / np.diff(once.interval) == pytest.approx(2**0.5, rel=0.1)


def test_the_hands_of_a_record_are_those_that_were_dealt():
    found = Scale.of(record("1100"), record("1110"))
    assert list(found.hands) == [hand_of(deal.cards) for deal in hand_set("ood", RULES["ood"]).deals[:4]]
    older = record("1100", task_version="0.1")
    assert len(set(Scale.of(older, older).hands)) == 4


def test_the_lead_of_one_over_another_is_paired():
    made = scales((first(40, 60), first(10, 60)), (first(5, 60), first(50, 60)))
    one, other = outcomes(first(25, 60), first(40, 60)), outcomes(first(20, 60), first(40, 60))
    lead = made.lead(one, other)
    assert lead is not None
    assert lead.value == pytest.approx(harmonic_mean(20 / 35, 30 / 40) - harmonic_mean(15 / 35, 30 / 40))
    assert lead.interval is not None
    assert lead.interval.low > 0  # the one wins whatever the other wins, and more
    assert made.lead(one, one) == (0, (0, 0))


@pytest.mark.parametrize(
    ("share_ood", "share_id", "level"),
    [
        (0.6, 0.7, 0.95),
        (0.3, 1.0, 0.95),  # at a kink
        (0.0, 0.8, 0.95),  # at an end
        (1.0, 1.0, 0.88),  # at two kinks: the docstring says so
    ],
)
def test_the_interval_of_the_mean_covers_it(share_ood, share_id, level):
    """In 200 made-up sweeps; at 95 %, 200 of them have a standard error of 1.5 points."""
    rng, n, runs = np.random.default_rng(0), 240, 200
    truth = harmonic_mean(share_ood, share_id)

    def played(share):
        """Who wins each deal: the end at 0 (5 %), the one at 1 (45 %), and what has this share."""
        ease = rng.random(n)
        own = np.where(rng.random((3, n)) < 0.7, ease, rng.random((3, n)))  # mostly the same deals are easy
        return (own < np.array([[0.05], [0.45], [0.05 + 0.4 * share]])).astype(float)

    covered = 0
    for _ in range(runs):
        (low, high, ood), (zero, one, of_id) = played(share_ood), played(share_id)
        made = Scales(Scale(low, high, tuple(range(n))), Scale(zero, one, tuple(range(n, 2 * n))))
        harmonic = made.shares(Outcomes(ood, of_id)).harmonic
        assert harmonic is not None
        assert harmonic.interval is not None
        covered += harmonic.interval.low <= truth <= harmonic.interval.high
    assert covered / runs > level - 3 * 0.0154
