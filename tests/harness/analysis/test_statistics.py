import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, fisher_exact, ttest_1samp

from points24.harness.analysis.statistics import (
    Paired,
    clustered_paired_interval,
    clustered_wilson,
    deals_needed,
    design_effect,
    holm,
    mcnemar,
    paired_deals_needed,
    paired_interval,
    ratio_interval,
    sign_flip,
    t_interval,
    two_shares,
    two_shares_interval,
    wilson,
)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        # Wilson 95 % of the paper's shares, in percent, worked out beforehand with another program.
        (21, 234, 5.9, 13.3),
        (36, 234, 11.3, 20.6),
        (40, 234, 12.8, 22.4),
        (46, 234, 15.1, 25.2),
    ],
)
def test_intervals_of_the_papers_figures(k, n, low, high):
    interval = wilson(k, n)
    assert round(100 * interval.low, 1) == low
    assert round(100 * interval.high, 1) == high


def test_the_interval_agrees_with_scipy():
    for k, n in ((0, 5), (1, 1), (3, 10), (796, 796), (400, 1236)):
        for confidence in (0.8, 0.95, 0.999):
            expected = binomtest(k, n).proportion_ci(confidence, method="wilson")
            assert wilson(k, n, confidence) == pytest.approx(tuple(expected), abs=1e-12)


@pytest.mark.parametrize(
    ("k", "n", "confidence"), [(-1, 5, 0.95), (6, 5, 0.95), (0, 0, 0.95), (1, 2, 1.0), (1, 2, 0.0)]
)
def test_impossible_counts_are_refused(k, n, confidence):
    with pytest.raises(ValueError, match="expected 0 <= k <= n"):
        wilson(k, n, confidence)


def test_the_papers_gains_tested_as_two_samples():
    # Published beforehand: 21 to 36 of 234 lies between 0.03 and 0.05 (score test and Fisher), 40 to 46 at 0.47.
    assert two_shares(21, 234, 36, 234) == pytest.approx(0.034, abs=5e-4)
    assert fisher_exact([[21, 213], [36, 198]])[1] == pytest.approx(0.047, abs=5e-4)
    assert two_shares(40, 234, 46, 234) == pytest.approx(0.47, abs=5e-3)


def test_newcombes_interval_gives_his_example():
    # Newcombe 1998, table II, 56/70 against 48/80: method 10 gives 0.0524 to 0.3339.
    assert two_shares_interval(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (5, 1), (3, 3), (0, 9), (7, 4)])
def test_mcnemar_agrees_with_an_enumeration_of_who_wins_each_deal(only_a, only_b):
    observed = abs(only_a - only_b)
    signs = list(product((1, -1), repeat=only_a + only_b))
    extreme = sum(abs(sum(sign)) >= observed for sign in signs)
    assert mcnemar(only_a, only_b) == pytest.approx(extreme / len(signs), abs=1e-12)


def test_mcnemar_by_hand():
    # 6 discordant deals, 5 to 1: (1 + 6) * 2 of 64.
    assert mcnemar(5, 1) == pytest.approx(14 / 64)


@pytest.mark.parametrize(
    ("differences", "clusters"),
    [
        ([1, 1, 1, -1], "aabc"),
        ([1, 1, 0, -1, -1, 1], "aabbcd"),
        ([1, -1, 1, 1, 1], "aabcc"),
        ([0, 0], "ab"),
    ],
)
def test_the_sign_flip_agrees_with_an_enumeration_of_hands(differences, clusters):
    sums = [sum(d for d, c in zip(differences, clusters, strict=True) if c == hand) for hand in set(clusters)]
    signs = list(product((1, -1), repeat=len(sums)))
    observed = abs(sum(differences))
    extreme = sum(abs(sum(s * x for s, x in zip(sign, sums, strict=True))) >= observed for sign in signs)
    assert sign_flip(differences, clusters) == pytest.approx(extreme / len(signs), abs=1e-12)


def test_the_sign_flip_without_repeats_is_mcnemar():
    differences = [1] * 12 + [-1] * 4 + [0] * 30
    assert sign_flip(differences, range(46)) == pytest.approx(mcnemar(12, 4), abs=1e-12)


def test_the_paired_interval_agrees_with_agrestis_example_at_large_n():
    # Agresti, Categorical Data Analysis, the approval ratings 794, 150, 86, 570: 0.04 ± 1.96 * 0.0095.
    low, high = paired_interval(Paired(794, 150, 86, 570))
    assert (low, high) == pytest.approx((0.04 - 1.96 * 0.0095, 0.04 + 1.96 * 0.0095), abs=5e-4)


@pytest.mark.parametrize("table", [Paired(10, 6, 2, 12), Paired(30, 1, 0, 9), Paired(0, 4, 4, 1)])
def test_each_end_of_the_paired_interval_is_where_the_score_test_just_rejects(table):
    both, a, b, neither = table

    def score(difference):
        """With the nuisance share found by a search over the likelihood, not by Tango's formula."""

        def minus_log_likelihood(q):
            parts = ((a, q + difference), (b, q), (both + neither, 1 - 2 * q - difference))
            return -sum(count * math.log(max(share, 1e-300)) for count, share in parts if count)

        bounds = (max(0.0, -difference), (1 - difference) / 2)
        found: Any = minimize_scalar(minus_log_likelihood, bounds=bounds, options={"xatol": 1e-12})
        q = found.x
        return (a - b - table.n * difference) / math.sqrt(table.n * (2 * q + difference * (1 - difference)))

    low, high = paired_interval(table)
    assert score(low) == pytest.approx(1.96, abs=2e-3)
    assert score(high) == pytest.approx(-1.96, abs=2e-3)


def test_the_paired_interval_of_equal_records_holds_0_and_shrinks_with_n():
    narrow, wide = paired_interval(Paired(500, 0, 0, 500)), paired_interval(Paired(5, 0, 0, 5))
    assert wide.low < narrow.low < 0 < narrow.high < wide.high
    # z² / (n + z²), by hand from the score test with no discordant deal.
    assert wide.high == pytest.approx(1.96**2 / (10 + 1.96**2), abs=1e-4)


def test_the_design_effect_of_deals_that_all_come_twice_is_2():
    outcomes = [1, 0, 0, 1, 0, 1, 1, 0] * 50
    doubled = [bit for bit in outcomes for _ in range(2)]
    clusters = [i // 2 for i in range(len(doubled))]
    assert design_effect(doubled, clusters) == pytest.approx(2, rel=0.01)
    assert clustered_wilson(doubled, clusters) == pytest.approx(wilson(200, 400), abs=1e-3)


def test_without_repeats_clusters_change_nothing():
    outcomes = [1, 0, 0, 1, 1]
    assert clustered_wilson(outcomes, range(5)) == wilson(3, 5)
    table = Paired(1, 2, 1, 3)
    assert clustered_paired_interval(table, [1, 1, -1, 0, 0, 0, 0], range(7)) == paired_interval(table)


def test_outcomes_that_all_agree_count_each_hand_once():
    assert clustered_wilson([0, 0, 0, 0], "aabb") == wilson(0, 2)


def test_holm_by_hand():
    # 0.01 * 4; 0.02 * 3; 0.03 * 2 stays at the larger 0.06; 0.04 * 1 likewise.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_deals_needed_is_the_textbooks_figure():
    # 10 % against 15 %, two-sided 5 %, power 80 %: 686 in each group.
    assert deals_needed(0.10, 0.15) == 686


def test_the_paired_number_of_deals_has_the_power_it_promises():
    """By the exact distribution of discordant and won deals under the exact test's large-sample critical value."""
    n, gap, discordant = paired_deals_needed(0.10, 0.30), 0.10, 0.30
    power = 0.0
    chance_a = (discordant + gap) / 2 / discordant
    for m in range(n + 1):
        chance_m = math.comb(n, m) * discordant**m * (1 - discordant) ** (n - m)
        if chance_m > 1e-9:
            rejected = [x for x in range(m + 1) if m and (2 * x - m) ** 2 > 1.96**2 * m]
            power += chance_m * sum(
                math.comb(m, x) * chance_a**x * (1 - chance_a) ** (m - x) for x in rejected
            )
    assert power == pytest.approx(0.80, abs=0.02)


@pytest.mark.parametrize(("difference", "discordant"), [(0.0, 0.1), (0.2, 0.1), (0.1, 1.1)])
def test_impossible_gaps_are_refused(difference, discordant):
    with pytest.raises(ValueError, match=r"expected|no number"):
        paired_deals_needed(difference, discordant)


def played(n=300, seed=0, back=0.5):
    """Differences (recovered − target, source − target) where a share `back` is recovered of what was lost."""
    random = np.random.default_rng(seed)
    source, target = random.random(n) < 0.35, random.random(n) < 0.1
    recovered = np.where(random.random(n) < back, source, random.random(n) < 0.1)
    return (recovered.astype(int) - target).tolist(), (source.astype(int) - target).tolist()


def test_fiellers_interval_holds_what_a_t_test_does_not_reject():
    gains, losses = (np.array(values) for values in played())
    interval = ratio_interval(gains.tolist(), losses.tolist())
    assert interval is not None
    for end in interval:
        assert ttest_1samp(gains - end * losses, 0)[1] == pytest.approx(0.05, abs=1e-9)
    assert interval.low < gains.sum() / losses.sum() < interval.high


def test_fiellers_interval_covers_the_truth_as_often_as_it_says():
    held = 0
    for seed in range(400):
        interval = ratio_interval(*played(200, seed, back=0.6))
        held += interval is not None and interval.low <= 0.6 <= interval.high
    assert 0.92 <= held / 400 <= 0.98


def test_fiellers_interval_moves_with_its_ratio():
    gains, losses = played()
    interval = ratio_interval(gains, losses)
    assert interval is not None
    scaled = ratio_interval([3 * gain for gain in gains], losses)
    assert scaled == pytest.approx([3 * end for end in interval])
    moved = ratio_interval([gain + 2 * loss for gain, loss in zip(gains, losses, strict=True)], losses)
    assert moved == pytest.approx([2 + end for end in interval])
    inverse = ratio_interval(losses, gains)
    assert inverse == pytest.approx([1 / interval.high, 1 / interval.low])


def test_a_ratio_that_cannot_be_otherwise_has_an_interval_without_width():
    _, losses = played()
    assert ratio_interval(losses, losses) == (1, 1)
    assert ratio_interval([0] * len(losses), losses) == (0, 0)


def test_a_denominator_that_may_be_0_leaves_the_ratio_unbounded():
    gains, losses = played()
    assert ratio_interval(gains, [0] * len(gains)) is None
    assert ratio_interval(gains, [1, -1] * (len(gains) // 2)) is None
    assert ratio_interval(gains[:3], [1, 0, 0]) is None
    assert ratio_interval([1], [1]) is None
    assert ratio_interval(gains, losses, ["one hand"] * len(gains)) is None


def test_deals_that_all_come_twice_count_once_in_a_ratio():
    gains, losses = played()
    assert ratio_interval(gains * 2, losses * 2, [*range(len(gains))] * 2) == pytest.approx(
        ratio_interval(gains, losses)
    )


@pytest.mark.parametrize("n", [1, 10, 234, 796, 1236])
def test_wilson_holds_the_share_itself_at_both_ends(n):
    assert wilson(0, n).low == 0
    assert wilson(n, n).high == 1
    assert all(wilson(k, n).low < k / n < wilson(k, n).high for k in range(1, n))


def test_students_interval_gives_an_example_by_hand():
    # Mean 2, variance 1, standard error 1/√3; Student's table gives 4.303 at 2 degrees of freedom.
    interval = t_interval([1, 2, 3])
    assert interval == pytest.approx((2 - 4.303 / math.sqrt(3), 2 + 4.303 / math.sqrt(3)), abs=1e-3)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_students_interval_agrees_with_scipy(confidence):
    values = [0.12, 0.31, -0.05, 0.2, 0.44]
    expected = ttest_1samp(values, 0).confidence_interval(confidence)
    assert t_interval(values, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_values_that_agree_have_no_spread_and_one_value_has_no_interval():
    assert t_interval([0.1, 0.1, 0.1]) == pytest.approx((0.1, 0.1))
    assert t_interval([0.1]) is None
    assert t_interval([]) is None
