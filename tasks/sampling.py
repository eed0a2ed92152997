"""Several independent samples of one deal: pass@k and maj@k, exact means over all choices of k samples.

The samples of a deal are a list of whole numbers: each stands for a formula, is positive if the reply is
correct and negative if not; 0 is a reply without a legal formula. Equal formulas share a number.

pass@k is the chance that one of k samples is correct (Chen et al. 2021, arXiv:2107.03374, eq. 1). maj@k is
the chance that the commonest formula among k is (self-consistency: Wang et al. 2022, arXiv:2203.11171).
Formulas are equal up to order and brackets (`points24.tasks.solver.normal_form`), never by value or verdict,
which would be the answer; so right formulas that differ split the vote. 0 has no vote, a tie is drawn by lot,
and without any vote nothing is won.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import comb

import numpy as np

from points24.tasks.cards import Deal
from points24.tasks.formula import FormulaError
from points24.tasks.solver import normal_form, render
from points24.tasks.verdict import EXTRACTIONS


def vote_of(deal: Deal, formula: str | None, extraction: str) -> str | None:
    """A formula in its normal form; None for a reply without a legal one."""
    if formula is None:
        return None
    try:
        return render(normal_form(EXTRACTIONS[extraction].parse(formula, deal)))
    except FormulaError:
        return None


def numbered(votes: Iterable[str | None], correct: Iterable[bool]) -> list[int]:
    """The samples of a deal as numbers, from the vote of each and whether it is correct."""
    numbers: dict[str, int] = {}
    return [
        0 if vote is None else numbers.setdefault(vote, len(numbers) + 1) * (1 if right else -1)
        for vote, right in zip(votes, correct, strict=True)
    ]


def estimate_names(repeats: int) -> list[str]:
    """What is reported of so many samples: k runs over the powers of two and ends at all of them."""
    depths = sorted({2**power for power in range(repeats.bit_length())} | {repeats})
    return [f"{name}@{k}" for k in depths for name in ("pass", "maj") if name == "pass" or k > 1]


@lru_cache(maxsize=2**14)
def estimates(samples: tuple[int, ...]) -> tuple[float, ...]:
    """The values, 0 to 1, of `estimate_names` for one deal."""
    right, majority = sum(sample > 0 for sample in samples), majority_at(samples)
    asked = (name.split("@") for name in estimate_names(len(samples)))
    return tuple(
        pass_at(int(k), len(samples), right) if name == "pass" else majority[int(k) - 1] for name, k in asked
    )


def pass_at(k: int, samples: int, correct: int) -> float:
    """The chance that k of the samples, drawn without replacement, hold a correct one.

    Raises:
        ValueError: unless 1 <= k <= samples and 0 <= correct <= samples.
    """
    if not (1 <= k <= samples and 0 <= correct <= samples):
        raise ValueError(f"expected 1 <= k <= samples >= correct >= 0; found {k}, {samples}, {correct}")
    return (comb(samples, k) - comb(samples - correct, k)) / comb(samples, k)


def majority_at(samples: Sequence[int]) -> list[float]:
    """The chance that the commonest formula of k of the samples is correct: for k = 1, 2, …, all."""
    n = len(samples)
    sizes = Counter(abs(sample) for sample in samples if sample)
    rights = Counter(sample for sample in samples if sample > 0)
    won = np.zeros(n + 1)
    for lead in range(1, max(sizes.values(), default=0) + 1):
        able = [(size, rights[vote] / size) for vote, size in sizes.items() if size >= lead]
        if not any(share for _, share in able):
            break
        # ways[0, t, s]: choices of s samples in which t formulas come `lead` times, and none more often.
        # ways[1, t, s]: the same, each counted by how many of its t formulas are right.
        ways = np.zeros((2, len(able) + 1, n + 1))
        others = n - sum(size for size, _ in able)
        ways[0, 0, : others + 1] = [comb(others, s) for s in range(others + 1)]
        for size, share in able:
            leading = np.zeros_like(ways)
            leading[:, 1:, lead:] = float(comb(size, lead)) * ways[:, :-1, : n + 1 - lead]
            leading[1] += share * leading[0]
            behind = ways.copy()
            for count in range(1, lead):
                behind[:, :, count:] += float(comb(size, count)) * ways[:, :, : n + 1 - count]
            ways = behind + leading
        won += (ways[1, 1:] / np.arange(1, len(able) + 1)[:, None]).sum(axis=0)
    return [float(won[k]) / comb(n, k) for k in range(1, n + 1)]
