"""The solutions that the paper's environment lists for a deal: not all, and in its own spelling.

It joins each order of the four numbers by each three operators, without brackets or with one of six ways to
set them, and keeps the texts whose exact value is the target. `points24.tasks.solver` finds every solution
and writes each once; the paper's verifier compares beginnings with this list.
"""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction
from functools import lru_cache
from itertools import permutations, product

import numpy as np

from points24.tasks.cards import CARDS_PER_DEAL, Deal
from points24.tasks.errors import InputError
from points24.tasks.formula import Expression, compute
from points24.tasks.paper_match import parse_paper

_SHAPES = (
    *("{}{}{}{}{}{}{}", "({}{}{}){}{}{}{}", "({}{}{}{}{}){}{}", "{}{}({}{}{}){}{}"),
    *("{}{}({}{}{}{}{})", "{}{}{}{}({}{}{})", "({}{}{}){}({}{}{})"),
)
"""Four numbers and three signs with the ways to set brackets."""
_NEAR = 1e-6
"""Floats of four numbers up to 999 that are further apart are different numbers."""


def begins_solution(deal: Deal, text: str) -> bool:
    """Whether a listed solution begins with the text."""
    listed = listed_solutions(tuple(sorted(deal.values)), deal.target)
    place = bisect_left(listed, text)
    return place < len(listed) and listed[place].startswith(text)


@lru_cache(maxsize=4096)
def listed_solutions(numbers: tuple[int, ...], target: int) -> tuple[str, ...]:
    """The listed solutions in alphabetical order.

    Args:
        numbers: the four numbers, sorted.
        target: the number to reach.

    Raises:
        InputError: not four numbers; the paper's environment knows no other deals.
    """
    if len(numbers) != CARDS_PER_DEAL:
        raise InputError(f"the paper's verifier: expected {CARDS_PER_DEAL} cards, found {len(numbers)}")
    orders = sorted(set(permutations(numbers)))
    columns = np.array(orders, dtype=float).T
    found = set()
    with np.errstate(all="ignore"):  # a division by zero is not near the target, or refused below
        for text, tree in _formulas():
            values = np.asarray(compute(tree, columns.__getitem__))
            for place in np.flatnonzero(np.abs(values - target) < _NEAR):
                order = orders[place]
                if _is_exact(tree, order, target):
                    found.add(text.format(*order))
    return tuple(sorted(found))


def _is_exact(tree: Expression, order: tuple[int, ...], target: int) -> bool:
    try:
        return compute(tree, lambda place: Fraction(order[place])) == target
    except ZeroDivisionError:
        return False


@lru_cache(maxsize=1)
def _formulas() -> tuple[tuple[str, Expression], ...]:
    """Every formula with the places 0 to 3 for numbers: as a text to format, and as an expression."""
    made = []
    for shape, signs in product(_SHAPES, product("+-*/", repeat=CARDS_PER_DEAL - 1)):
        one, two, three = signs
        parts = ("{0}", one, "{1}", two, "{2}", three, "{3}")
        text = shape.format(*parts)
        made.append((text, parse_paper(text.format(*range(CARDS_PER_DEAL)))))
    return tuple(made)
