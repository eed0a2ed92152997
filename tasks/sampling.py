"""Several independent samples of one deal: pass@k and maj@k, exact means over all choices of k samples.

pass@k is the chance that one of k samples is correct (Chen et al. 2021, arXiv:2107.03374, eq. 1). maj@k is
the chance that the majority's formula is (self-consistency: Wang et al. 2022, arXiv:2203.11171). A vote is a
formula up to order and brackets (`points24.tasks.solver.normal_form`): never its value or its verdict, which
would be the answer. Right formulas that differ do split the vote. A reply without a legal formula abstains; a
tie is drawn by lot, and without any vote nothing is won.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from math import comb

import numpy as np

from points24.tasks.cards import Deal
from points24.tasks.formula import FormulaError
from points24.tasks.solver import normal_form, render
from points24.tasks.verdict import EXTRACTIONS


def depths(samples: int) -> list[int]:
    """The k that are reported: powers of two, and all samples."""
    return sorted({2**power for power in range(samples.bit_length())} | {samples})


def vote_of(deal: Deal, formula: str | None, extraction: str) -> str | None:
    """A formula in its normal form; None for a reply that abstains."""
    if formula is None:
        return None
    try:
        return render(normal_form(EXTRACTIONS[extraction].parse(formula, deal)))
    except FormulaError:
        return None


def pass_at(k: int, samples: int, correct: int) -> float:
    """The chance that k of the samples, drawn without replacement, hold a correct one.

    Raises:
        ValueError: unless 1 <= k <= samples and 0 <= correct <= samples.
    """
    if not (1 <= k <= samples and 0 <= correct <= samples):
        raise ValueError(f"expected 1 <= k <= samples >= correct >= 0; found {k}, {samples}, {correct}")
    return 1 - comb(samples - correct, k) / comb(samples, k)


def majority_at(votes: Sequence[Hashable | None], correct: Sequence[bool]) -> list[float]:
    """The chance that the majority of k of the samples is correct: for k = 1, 2, …, all.

    Args:
        votes: of each sample; None abstains.
        correct: whether each sample is.
    """
    n = len(votes)
    sizes = Counter(vote for vote in votes if vote is not None)
    won = np.zeros(n + 1)
    for vote, size in sizes.items():
        right = sum(ok for ok, each in zip(correct, votes, strict=True) if each == vote) / size
        if not right:
            continue
        others = [count for other, count in sizes.items() if other != vote]
        for lead in range(1, size + 1):
            # ways[s, t]: choices of s other samples in which t votes tie with the lead and none exceeds it
            ways = np.zeros((n + 1, len(sizes)))
            ways[0, 0] = 1
            for count in others:
                ways = sum(
                    (_shifted(ways, chosen, chosen == lead) * comb(count, chosen))
                    for chosen in range(min(count, lead) + 1)
                )
            abstaining = n - sizes.total()
            ways = sum(
                _shifted(ways, chosen, False) * comb(abstaining, chosen) for chosen in range(abstaining + 1)
            )
            by_lot = ways @ (1 / np.arange(1, len(sizes) + 1))
            won[lead:] += right * comb(size, lead) * by_lot[: n + 1 - lead]
    return [float(won[k] / comb(n, k)) for k in range(1, n + 1)]


def _shifted(ways: np.ndarray, chosen: int, is_tie: bool) -> np.ndarray:
    """`ways` with so many samples more, and perhaps one tie more."""
    moved = np.zeros_like(ways)
    moved[chosen:, int(is_tie) :] = ways[: len(ways) - chosen, : ways.shape[1] - int(is_tie)]
    return moved
