"""Statistics on deals. Pure functions on counts."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
from typing import NamedTuple


class Interval(NamedTuple):
    low: float
    high: float


def wilson(k: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for a share of k in n.

    It asks which true shares would make the observed one unsurprising, so it stays within 0 and 1 and has
    width even at k = 0 (Wilson 1927, J. Am. Stat. Assoc. 22:209).

    Raises:
        ValueError: unless 0 <= k <= n, n >= 1 and 0 < confidence < 1.
    """
    if not (0 <= k <= n and n >= 1 and 0 < confidence < 1):
        raise ValueError(
            f"expected 0 <= k <= n, n >= 1, 0 < confidence < 1; found k={k}, n={n}, confidence={confidence}"
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = k / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))
