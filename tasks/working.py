"""A formula worked out step by step, as a reply may show it before its answer.

    <think>
    5 3 2 2                    the numbers of the cards
    5 * 3 = 15 | 15 2 2        an operation and its value | what is left
    back | 5 3 2 2             in a search: the target is out of reach, so the operation is taken back
    5 - 3 = 2 | 2 2 2
    …
    </think>

Extraction leaves thinking out: the answer after it is judged as if it stood alone.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations, permutations

from points24.tasks.cards import Deal
from points24.tasks.formula import Expression, Operation, evaluate, parse
from points24.tasks.solver import solvable

WORKINGS = ("none", "steps", "search")
"""What stands before the answer: nothing, the steps of its formula, or a search that finds one."""

_SEEN = 3
"""Of so many numbers a search sees what they reach; of more, it tries."""
_FUNCTIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
_Parts = Sequence[tuple[Fraction, Expression]]
"""What is left: numbers, and how they were made of the cards."""
_Move = tuple[Operation, _Parts]
"""An operation, and what it leaves: its value, then the others."""


def worked(deal: Deal, formula: str, working: str, rng: random.Random) -> tuple[str, str]:
    """The text before an answer, empty or with a line break at its end, and the answer's formula.

    Args:
        deal: its numbers are written in the order shown.
        formula: a solution, in the strict grammar.
        working: one of `WORKINGS`. With `search` the answer is what the search finds; `formula`, where every
            solution needs fractions, negative or very large numbers.
        rng: draws the order of independent steps, and among operations that are equally good.
    """
    if working == "none":
        return "", formula
    found = _search(deal, rng) if working == "search" else None
    lines, formula = found or (_steps(deal, parse(formula), rng), formula)
    return "\n".join(["<think>", *lines, "</think>", ""]), formula


def wander(deal: Deal, rng: random.Random) -> str | None:
    """A solution by chance: at each step any operation on natural numbers that keeps the target in reach.

    A hand has many more of these than `solutions`, which are all different; so they are harder to learn by
    heart. None where every solution needs other numbers on its way.

    Returns:
        A formula of the strict grammar that is parsed into just these operations.
    """
    left = _cards(deal)
    while len(left) > 1:
        reaching = (now for _, now in _drawn(left, rng) if _reaches(now, deal.target))
        if not (left := next(reaching, ())):
            return None
    return _bracketed(left[0][1])


def _search(deal: Deal, rng: random.Random) -> tuple[list[str], str] | None:
    """Lines that try one operation after the other until one keeps the target in reach, and the solution.

    The order is always the same, so it can be learned without the hand: the pairs as they stand, and of each
    the quotient, the product, the difference and the sum. Of a hand's 14 operations 4 keep 24 in reach, and
    two to three are tried in vain.
    """
    left = _cards(deal)
    lines = [_written(_numbers(left))]
    while len(left) > 1:
        tries = len(left) > _SEEN
        for step, now in _in_order(left, 2 * deal.target) if tries else _drawn(left, rng):
            if _reaches(now, deal.target):
                break
            if tries:
                lines += [_line(step, _numbers(now)), f"back | {_written(_numbers(left))}"]
        else:
            return None
        lines.append(_line(step, _numbers(now)))
        left = now
    return lines, _bracketed(left[0][1])


def _in_order(left: _Parts, most: int) -> Iterator[_Move]:
    """The operations on two of the numbers with a value of at most `most`, none that leaves the same."""
    seen = set()
    for i, j in combinations(range(len(left)), 2):
        larger, smaller = (i, j) if left[i][0] >= left[j][0] else (j, i)
        for op in "/*-+":
            for step, now in _done(left, larger, op, smaller):
                if now[0][0] <= most and (key := tuple(sorted(_numbers(now)))) not in seen:
                    seen.add(key)
                    yield step, now


def _drawn(left: _Parts, rng: random.Random) -> Iterator[_Move]:
    """The operations on two of the numbers, in an order drawn at random."""
    moves = [(i, op, j) for i, j in permutations(range(len(left)), 2) for op in _FUNCTIONS]
    for i, op, j in rng.sample(moves, len(moves)):
        if op in "-/" or left[i][0] >= left[j][0]:
            yield from _done(left, i, op, j)


def _done(left: _Parts, i: int, op: str, j: int) -> Iterator[_Move]:
    """One operation, unless its value is no natural number."""
    (a, x), (b, y) = left[i], left[j]
    value = _FUNCTIONS[op](a, b) if b or op != "/" else Fraction(-1)
    if value.denominator == 1 and value >= 0:
        step = Operation(op, x, y)
        yield step, ((value, step), *(part for k, part in enumerate(left) if k not in (i, j)))


def _reaches(left: _Parts, target: int) -> bool:
    numbers = tuple(map(int, _numbers(left)))
    return numbers == (target,) if len(numbers) == 1 else solvable(numbers, target)


def _cards(deal: Deal) -> _Parts:
    return [(Fraction(value), value) for value in deal.values]


def _numbers(left: _Parts) -> list[Fraction]:
    return [number for number, _ in left]


def _steps(deal: Deal, formula: Expression, rng: random.Random) -> Iterator[str]:
    """The lines of a formula's operations; which of those that are ready comes next, is drawn."""
    left = list(map(Fraction, deal.values))
    yield _written(left)
    waiting = list(_operations(formula))
    while waiting:
        step = rng.choice([step for step in waiting if not {step.left, step.right} & set(waiting)])
        waiting.remove(step)
        for operand in (step.left, step.right):
            left.remove(evaluate(operand))
        left.insert(0, evaluate(step))
        yield _line(step, left)


def _line(step: Operation, left: Sequence[Fraction]) -> str:
    """An operation, with the larger number first in sums and products, its value, and what is left."""
    a, b = evaluate(step.left), evaluate(step.right)
    if step.op in "+*" and a < b:
        a, b = b, a
    return f"{_operand(a)} {step.op} {_operand(b)} = {left[0]} | {_written(left)}"


def _operations(expression: Expression) -> Iterator[Operation]:
    if not isinstance(expression, int):
        yield from _operations(expression.left)
        yield from _operations(expression.right)
        yield expression


def _bracketed(expression: Expression) -> str:
    """The formula that is parsed into this expression."""
    if isinstance(expression, int):
        return str(expression)
    op, left, right = expression
    strong = op in "*/"
    before = f"({_bracketed(left)})" if strong and _is_sum(left) else _bracketed(left)
    inside = not isinstance(right, int) and (strong or _is_sum(right))
    return before + op + (f"({_bracketed(right)})" if inside else _bracketed(right))


def _is_sum(expression: Expression) -> bool:
    return not isinstance(expression, int) and expression.op in "+-"


def _operand(number: Fraction) -> str:
    return str(number) if number.denominator == 1 else f"({number})"


def _written(numbers: Sequence[Fraction]) -> str:
    return " ".join(map(str, numbers))
