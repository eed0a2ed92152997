"""Statistics on deals: intervals, tests and sample sizes. Pure functions on counts and outcomes.

*Outcomes* are 0 or 1 per deal, in hand-set order. *Clusters* are labels, one per deal: deals with the same
label show the same hand, so they are not independent. With every label distinct, the clustered functions
give what the plain ones give.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from math import ceil, fsum, inf, sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import bdtr, stdtrit

CONFIDENCE = 0.95
_Z_TEST, _Z_POWER = NormalDist().inv_cdf(0.975), NormalDist().inv_cdf(0.8)
"""Of a two-sided test at 5 %, and of a chance of 80 % that it sees the difference."""


class Interval(NamedTuple):
    low: float
    high: float


class Paired(NamedTuple):
    """The contingency table of two records over the same deals; the four add up to their number."""

    both: float
    only_a: float
    only_b: float
    neither: float

    @property
    def n(self) -> float:
        return sum(self)

    @property
    def difference(self) -> float:
        """Share of deals that a wins, less the share that b wins, in −1 … 1."""
        return (self.only_a - self.only_b) / self.n


def wilson(k: float, n: float, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval for a share of k in n.

    It asks which true shares would make the observed one unsurprising, so it stays within 0 and 1 and has
    width even at k = 0 (Wilson 1927, J. Am. Stat. Assoc. 22:209). Fractional counts come from `clustered`.

    Raises:
        ValueError: unless 0 <= k <= n, n >= 1 and 0 < confidence < 1.
    """
    if not (0 <= k <= n and n >= 1 and 0 < confidence < 1):
        raise ValueError(
            f"expected 0 <= k <= n, n >= 1, 0 < confidence < 1; found k={k}, n={n}, confidence={confidence}"
        )
    z = _z(confidence)
    share = k / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At k = 0 and k = n, rounding might leave the share itself just outside its interval.
    return Interval(0.0 if k == 0 else centre - half, 1.0 if k == n else centre + half)


def clustered_wilson(values: Sequence[float], clusters: Sequence[Hashable], samples: int = 1) -> Interval:
    """Wilson's interval for the mean, with n divided by the design effect of the clusters.

    Values may be outcomes, or means over several samples, which vary less than outcomes with the same mean
    do: n is divided by that share of the variance, too, up to the number of all samples. Where all values are
    0 or all are 1, nothing can be estimated: each cluster then counts once.
    """
    k, n = sum(values), len(values)
    effect = n / len(set(clusters)) if k in (0, n) else design_effect(values, clusters)
    if samples > 1 and 0 < k < n:
        share_of_variance = sum((value - k / n) ** 2 for value in values) / (k * (1 - k / n))
        effect = max(effect * share_of_variance, 1 / samples)
    return wilson(k / effect, n / effect)


def design_effect(values: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """How many times larger clusters make the variance of the mean; never below 1.

    The cluster-robust variance (Liang & Zeger 1986, with the C/(C−1) correction) over that of independent
    deals. 1 where no cluster repeats or all values agree.
    """
    sums = _sums(values, clusters, centred=True)
    n, distinct = len(values), len(sums)
    mean = sum(values) / n
    independent = sum((value - mean) ** 2 for value in values) * n / (n - 1) if n > 1 else 0.0
    if distinct in (1, n) or independent == 0:
        return 1.0
    return max(1.0, sum(s * s for s in sums) * distinct / (distinct - 1) / independent)


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p that two records are equally accurate, from the deals that only one of them wins.

    Under that hypothesis either is equally likely to be the winner of such a deal (McNemar 1947, exact form).
    """
    discordant = only_a + only_b
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), discordant, 0.5))) if discordant else 1.0


def sign_flip(differences: Sequence[int], clusters: Sequence[Hashable]) -> float:
    """Two-sided exact p that a − b, summed by hand, is as often positive as negative.

    The hands are independent, the deals of one hand are not; so the signs of whole hands are flipped, in
    all ways at once (a convolution). `mcnemar` is the case in which every hand comes once.

    Args:
        differences: a − b per deal, whole numbers: −1, 0 or 1, or more where a deal has several samples.
        clusters: the hand of each deal.
    """
    sums = [abs(int(s)) for s in _sums(differences, clusters, centred=False) if s]
    total = sum(sums)
    chances = np.zeros(2 * total + 1)
    chances[total] = 1.0
    for s in sums:
        chances = (np.roll(chances, s) + np.roll(chances, -s)) / 2
    observed = abs(sum(differences))
    # Rounding may carry a certain event a little past 1.
    return min(1.0, float(chances[np.abs(np.arange(-total, total + 1)) >= observed].sum()))


def paired_interval(table: Paired) -> Interval:
    """Tango's score interval for the difference of two paired shares (1998, Stat. Med. 17:891).

    The differences that a score test would not reject; like Wilson's, it holds up where few deals differ.
    """
    only_a, only_b, n, z = table.only_a, table.only_b, table.n, _z(CONFIDENCE)

    def score(difference: float) -> float:
        """How many standard errors the observed difference lies above `difference`."""
        gap = only_a - only_b - n * difference
        half_b = ((2 * n - only_a + only_b) * difference - only_a - only_b) / 2
        # The most likely share of deals that b alone wins, if `difference` were the truth.
        share_b = (sqrt(half_b**2 + 2 * n * only_b * difference * (1 - difference)) - half_b) / (2 * n)
        variance = n * (2 * share_b + difference * (1 - difference))
        if variance <= 0:
            return 0.0 if gap == 0 else inf * gap
        return gap / sqrt(variance)

    observed = table.difference
    low = _root(lambda d: score(d) - z, -1.0, observed)
    high = _root(lambda d: score(d) + z, observed, 1.0)
    return Interval(low, high)


def clustered_paired_interval(
    table: Paired, differences: Sequence[int], clusters: Sequence[Hashable]
) -> Interval:
    """`paired_interval` with every count divided by the design effect of the differences."""
    effect = design_effect(differences, clusters)
    return paired_interval(Paired(*(count / effect for count in table)))


def ratio_interval(
    numerators: Sequence[float],
    denominators: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
) -> Interval | None:
    """Fieller's interval for the ratio of two means over the same deals (1954, J. R. Stat. Soc. B 16:175).

    It holds the ratios R for which a t test does not reject that the mean of ``numerator - R * denominator``
    is 0. Unlike the delta method's, its level holds even where the means are close to 0 in units of their
    error. Variances and covariance are cluster-robust (Liang & Zeger 1986, with C/(C−1)), with C − 1
    degrees of freedom for C clusters.

    Args:
        numerators: one value per deal, such as recovered − target.
        denominators: likewise, such as source − target.
        clusters: the hand of each deal; None if no hand comes twice.

    Returns:
        None where the mean denominator does not differ from 0 significantly, or for a single cluster: the
        ratios that are not rejected are then unbounded.
    """
    labels = range(len(numerators)) if clusters is None else clusters
    a_sums = np.array(_sums(numerators, labels, centred=True))
    b_sums = np.array(_sums(denominators, labels, centred=True))
    n, distinct = len(numerators), len(a_sums)
    if distinct < 2:
        return None
    a, b = sum(numerators) / n, sum(denominators) / n
    scale = float(stdtrit(distinct - 1, (1 + CONFIDENCE) / 2)) ** 2 * distinct / (distinct - 1) / n**2
    # (a − R b)² <= t² var(a − R b), as a quadratic in R: aa − 2 R ab + R² bb <= 0.
    aa, ab, bb = (
        x * y - scale * float(products.sum())
        for x, y, products in ((a, a, a_sums * a_sums), (a, b, a_sums * b_sums), (b, b, b_sums * b_sums))
    )
    if bb <= 0:
        return None
    half = sqrt(max(0.0, ab * ab - aa * bb))  # never below 0 but for rounding: R = a / b is not rejected
    return Interval((ab - half) / bb, (ab + half) / bb)


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Student's interval for the mean of independent values (1908, Biometrika 6:1).

    It has n − 1 degrees of freedom. For a handful of seeds, where the normal approximation is far too
    narrow: at 3 values it takes 4.3 standard errors, not 1.96. Values that all agree give an interval
    without width.

    Returns:
        None for fewer than two values: they say nothing about their spread.
    """
    n = len(values)
    if n < 2:
        return None
    mean = fsum(values) / n
    variance = fsum((value - mean) ** 2 for value in values) / (n - 1)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * sqrt(variance / n)
    return Interval(mean - half, mean + half)


def two_shares(k_a: int, n_a: int, k_b: int, n_b: int) -> float:
    """Two-sided p that two *unpaired* shares are equal: the pooled score test.

    For figures without per-deal outcomes, such as those of papers. It ignores pairing, so it
    needs larger gaps.
    """
    pooled = (k_a + k_b) / (n_a + n_b)
    variance = pooled * (1 - pooled) * (1 / n_a + 1 / n_b)
    if variance == 0:
        return 1.0
    return 2 * (1 - NormalDist().cdf(abs(k_a / n_a - k_b / n_b) / sqrt(variance)))


def two_shares_interval(k_a: int, n_a: int, k_b: int, n_b: int) -> Interval:
    """Interval for the difference of two unpaired shares (Newcombe 1998, Stat. Med. 17:873, method 10)."""
    a, b = k_a / n_a, k_b / n_b
    (low_a, high_a), (low_b, high_b) = wilson(k_a, n_a), wilson(k_b, n_b)
    return Interval(
        a - b - sqrt((a - low_a) ** 2 + (high_b - b) ** 2),
        a - b + sqrt((high_a - a) ** 2 + (b - low_b) ** 2),
    )


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979): those below 0.05 hold together with a 5 % chance of any error."""
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = largest
    return adjusted


def deals_needed(share_a: float, share_b: float) -> int:
    """Deals *per record* to see share_a against share_b without pairing: 80 % power at the 5 % level.

    The normal approximation without continuity correction (Fleiss, Levin & Paik 2003, eq. 4.14).
    """
    mean, gap = (share_a + share_b) / 2, _gap(share_a - share_b)
    spread = share_a * (1 - share_a) + share_b * (1 - share_b)
    return ceil(((_Z_TEST * sqrt(2 * mean * (1 - mean)) + _Z_POWER * sqrt(spread)) / gap) ** 2)


def paired_deals_needed(difference: float, discordant: float) -> int:
    """Deals to see a paired difference, likewise (Connor 1987, Biometrics 43:207).

    Args:
        difference: accuracy of a less that of b.
        discordant: share of deals that only one of the two wins; at least |difference|.

    Raises:
        ValueError: no difference, or more difference than discordance.
    """
    gap = _gap(difference)
    if not gap <= discordant <= 1:
        raise ValueError(f"expected |difference| <= discordant <= 1; found {difference} and {discordant}")
    return ceil(((_Z_TEST * sqrt(discordant) + _Z_POWER * sqrt(discordant - gap**2)) / gap) ** 2)


def _gap(difference: float) -> float:
    if difference == 0:
        raise ValueError("no number of deals shows a difference of 0")
    return abs(difference)


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses 0; if it does not, the nearer end."""
    if function(low) <= 0:
        return low
    if function(high) >= 0:
        return high
    return float(brentq(function, low, high, xtol=1e-10))  # pyright: ignore[reportArgumentType] — scipy's types


def _sums(values: Iterable[float], clusters: Sequence[Hashable], *, centred: bool) -> list[float]:
    values = list(values)
    mean = sum(values) / len(values) if centred else 0.0
    sums: dict[Hashable, float] = defaultdict(float)
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] += value - mean
    return list(sums.values())
