import pytest

from points24.leaderboards.statistics import wilson


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
    scipy_stats = pytest.importorskip("scipy.stats")
    for k, n in ((0, 5), (1, 1), (3, 10), (796, 796), (400, 1236)):
        for confidence in (0.8, 0.95, 0.999):
            expected = scipy_stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
            assert wilson(k, n, confidence) == pytest.approx(tuple(expected), abs=1e-12)


@pytest.mark.parametrize(
    ("k", "n", "confidence"), [(-1, 5, 0.95), (6, 5, 0.95), (0, 0, 0.95), (1, 2, 1.0), (1, 2, 0.0)]
)
def test_impossible_counts_are_refused(k, n, confidence):
    with pytest.raises(ValueError, match="expected 0 <= k <= n"):
        wilson(k, n, confidence)
