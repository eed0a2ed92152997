"""Records with several samples per deal: pass@k and maj@k with intervals over deals."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from points24.harness.analysis.statistics import Interval, design_effect, wilson
from points24.harness.records.record import Record
from points24.tasks.sampling import depths, majority_at, pass_at


def per_deal(record: Record) -> dict[str, list[float]]:
    """pass@1, pass@2, … and maj@1, … of each deal; empty for a record without several samples."""
    if record.sample_outcomes is None or record.votes is None:
        return {}
    found: dict[str, list[float]] = {}
    for bits, votes in zip(record.sample_outcomes, record.votes, strict=True):
        majority = majority_at([vote or None for vote in votes], [bit == "1" for bit in bits])
        for k in depths(record.repeats):
            found.setdefault(f"pass@{k}", []).append(pass_at(k, record.repeats, bits.count("1")))
            found.setdefault(f"maj@{k}", []).append(majority[k - 1])
    return found


def interval_of_mean(values: Sequence[float], clusters: Sequence[Hashable], repeats: int) -> Interval:
    """Wilson's interval for the mean of shares, one a deal, with the effective number of deals.

    n is divided by the design effect of the clusters and by how much less the shares vary than outcomes of 0
    and 1 with the same mean do; it never exceeds n * repeats, the number of samples. At one sample per deal
    this is `clustered_wilson`.
    """
    n = len(values)
    mean = sum(values) / n
    if mean <= 0 or mean >= 1:
        size: float = len(set(clusters))  # as `clustered_wilson`: there is nothing to estimate
    else:
        spread = sum((value - mean) ** 2 for value in values) / (n * mean * (1 - mean))
        size = n / max(design_effect(values, clusters) * spread, 1 / repeats)
    size = max(size, 1.0)
    return wilson(min(mean, 1.0) * size, size)
