"""A formula worked out step by step, as a reply may show it before its answer.

    <think>
    13 5 1 2                   the numbers of the cards
    13 * 2 = 26 | 26 5 1       an operation and its value | what is left
    back | 13 5 1 2            with detours: the target is out of reach, so the operation is taken back
    5 * 2 = 10 | 10 13 1
    …
    </think>

Extraction leaves thinking out: the answer after it is judged as if it stood alone.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Iterator
from fractions import Fraction
from itertools import permutations

from points24.tasks.cards import Deal
from points24.tasks.formula import Expression, Operation, evaluate, parse
from points24.tasks.solver import solvable

WORKINGS = ("none", "steps", "search")
"""What stands before the answer: nothing, the steps of its formula, or these with detours."""
DETOUR_SHARE = 0.3
"""With `search`, the probability of a detour before each step, of a further one, and of one within it."""

_BACK = "back | "
_SEEN = 2
_FUNCTIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
_Numbers = tuple[Fraction, ...]


def thinking(deal: Deal, formula: str, working: str, rng: random.Random) -> str:
    """The text before the answer, which ends with a line break; empty with `none`.

    Args:
        deal: its numbers are written in the order shown.
        formula: a solution, in the strict grammar.
        working: one of `WORKINGS`.
        rng: draws the order of independent steps, and the detours.
    """
    if working == "none":
        return ""
    share = DETOUR_SHARE if working == "search" else 0.0
    return "\n".join(["<think>", *_lines(deal, parse(formula), share, rng), "</think>", ""])


def taken_back(thought: str) -> Iterator[tuple[int, int]]:
    """Where a `thinking` has the operations that it takes back, each (start, end), without its value."""
    open_: list[tuple[int, int]] = []
    start = 0
    for line in thought.splitlines(keepends=True):
        if line.startswith(_BACK):
            yield open_.pop()
        elif "=" in line:
            open_.append((start, start + line.index("=") + 1))
        start += len(line)


def wander(deal: Deal, rng: random.Random) -> str | None:
    """A solution by chance: at each step any operation on natural numbers that keeps the target in reach.

    A hand has many more of these than `solutions`, which are all different; so they are harder to learn by
    heart. None where every solution needs other numbers on its way.

    Returns:
        A formula of the strict grammar that is parsed into just these operations.
    """
    left: list[tuple[Fraction, Expression]] = [(Fraction(value), value) for value in deal.values]
    while len(left) > 1:
        pairs = [(i, j, op) for i, j in permutations(range(len(left)), 2) for op in _FUNCTIONS]
        for i, j, op in rng.sample(pairs, len(pairs)):
            (a, x), (b, y) = left[i], left[j]
            if (op in "+*" and a < b) or (op == "/" and not b) or not _natural(_FUNCTIONS[op](a, b)):
                continue
            others = [left[k] for k in range(len(left)) if k not in (i, j)]
            now = [(_FUNCTIONS[op](a, b), Operation(op, x, y)), *others]
            if _reaches(tuple(number for number, _ in now), deal.target):
                left = now
                break
        else:
            return None
    return _bracketed(left[0][1])


def _lines(deal: Deal, formula: Expression, detours: float, rng: random.Random) -> Iterator[str]:
    left = tuple(map(Fraction, deal.values))
    yield _written(left)
    waiting = list(_operations(formula))
    while waiting:
        if detours:
            yield from _detours(left, deal.target, detours, rng)
        ready = [step for step in waiting if not {step.left, step.right} & set(waiting)]
        step = rng.choice(ready)
        waiting.remove(step)
        line, left = _done(left, evaluate(step.left), step.op, evaluate(step.right))
        yield line


def _detours(left: _Numbers, target: int, share: float, rng: random.Random) -> Iterator[str]:
    """Operations that put the target out of reach, each with detours of its own, then taken back.

    Of two numbers it can be seen whether they reach the target, so there none is tried.
    """
    lost = _lost(left, target) if len(left) > _SEEN else []
    while lost and rng.random() < share:
        line, now = lost.pop(rng.randrange(len(lost)))
        yield line
        yield from _detours(now, target, share, rng)
        yield f"{_BACK}{_written(left)}"


def _done(left: _Numbers, a: Fraction, op: str, b: Fraction) -> tuple[str, _Numbers]:
    """The line of an operation on two of the numbers, and what it leaves: its value, then the others.

    Sums and products have the larger number first, so that their form does not tell where they come from.
    """
    if op in "+*" and a < b:
        a, b = b, a
    others = list(left)
    others.remove(a)
    others.remove(b)
    value = _FUNCTIONS[op](a, b)
    now = (value, *others)
    return f"{_operand(a)} {op} {_operand(b)} = {value} | {_written(now)}", now


def _lost(left: _Numbers, target: int) -> list[tuple[str, _Numbers]]:
    """The operations on natural numbers, with a natural value, that lose sight of the target."""
    if not all(map(_natural, left)):
        return []
    moves = {
        _done(left, a, op, b)
        for a, b in permutations(sorted(left, reverse=True), 2)
        for op in ("+-*/" if a >= b > 0 else "+-*" if a >= b else "/" if b else "")
    }
    return sorted(move for move in moves if _natural(move[1][0]) and not _reaches(move[1], target))


def _reaches(numbers: _Numbers, target: int) -> bool:
    return numbers == (target,) if len(numbers) == 1 else solvable(tuple(map(int, numbers)), target)


def _natural(value: Fraction) -> bool:
    return value.denominator == 1 and value >= 0


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


def _written(numbers: _Numbers) -> str:
    return " ".join(map(str, numbers))
