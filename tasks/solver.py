"""Exact search for the formulas that reach a target.

Two formulas are one solution if they differ only by commutativity and associativity, including
``a-(b-c) = a+c-b`` and ``a/(b/c) = a*c/b``. Solutions are kept in a normal form: no sum is a term of a sum,
and no product is a factor of a product. `render` writes it with as few parentheses as possible.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cache, lru_cache
from itertools import combinations
from typing import NamedTuple

from points24.tasks import formula

Numbers = tuple[int, ...]


class Chain(NamedTuple):
    """``x + … - y - …`` (kind ``+``) or ``x * … / y / …`` (kind ``*``), with sorted members.

    `direct` (x, …) is never empty, so no sign is unary.
    """

    kind: str
    direct: tuple[Expression, ...]
    inverse: tuple[Expression, ...]


Expression = int | Chain
Reachable = dict[Fraction, frozenset[Expression]]


def solvable(numbers: Numbers, target: int) -> bool:
    """Whether a formula exists that uses each number once and equals the target exactly."""
    return any(True for _ in _last_steps(tuple(sorted(numbers)), Fraction(target)))


def solutions(numbers: Numbers, target: int) -> tuple[str, ...]:
    """Every distinct solution as a formula of the strict grammar, shortest first, then alphabetically."""
    return _solutions(tuple(sorted(numbers)), target)


def one_solution(numbers: Numbers, target: int) -> str | None:
    """The shortest formula of one of the last steps; None if there is none.

    Of five cards, all solutions take a hundred times as long.
    """
    for op, left, right in _last_steps(tuple(sorted(numbers)), Fraction(target)):
        found = [render(_join(op, a, b)) for a in left for b in right]
        return min(found, key=lambda text: (len(text), text))
    return None


def normal_form(tree: formula.Expression) -> Expression:
    """A formula in the form in which two that are one solution are equal, whatever its value."""
    if isinstance(tree, int):
        return tree
    return _join(tree.op, normal_form(tree.left), normal_form(tree.right))


@lru_cache(maxsize=4096)
def _solutions(numbers: Numbers, target: int) -> tuple[str, ...]:
    found = {
        _join(op, a, b)
        for op, left, right in _last_steps(numbers, Fraction(target))
        for a in left
        for b in right
    }
    return tuple(sorted(map(render, found), key=lambda text: (len(text), text)))


@lru_cache(maxsize=4096)
def _reachable(numbers: Numbers) -> Reachable:
    """Every value that the numbers reach, with its distinct expressions."""
    if len(numbers) == 1:
        return {Fraction(numbers[0]): frozenset(numbers)}
    table: dict[Fraction, set[Expression]] = {}
    for first, second in _splits(numbers):
        for x, left in _reachable(first).items():
            for y, right in _reachable(second).items():
                for op, swapped, value in _results(x, y):
                    table.setdefault(value, set()).update(
                        _join(op, b, a) if swapped else _join(op, a, b) for a in left for b in right
                    )
    return {value: frozenset(expressions) for value, expressions in table.items()}


def _last_steps(
    numbers: Numbers, target: Fraction
) -> Iterator[tuple[str, frozenset[Expression], frozenset[Expression]]]:
    """The last operations that give the target, as (operator, left operands, right operands).

    Only the values of the smaller side are enumerated: the target determines the other side's value, so the
    widest level of the search is a look-up.
    """
    for first, second in _splits(numbers):
        partners = _reachable(second)
        for x, xs in _reachable(first).items():
            for op, swapped, y in _partners(x, target):
                if y in partners:
                    yield (op, partners[y], xs) if swapped else (op, xs, partners[y])


def _splits(numbers: Numbers) -> list[tuple[Numbers, Numbers]]:
    """The ways to split the (sorted) numbers in two, the first part no larger than the second.

    Halves come first: they reach far fewer values than five numbers of six, so what is solvable is soon seen.
    """
    places = range(len(numbers))
    found = {
        (tuple(numbers[i] for i in chosen), tuple(numbers[i] for i in places if i not in chosen)): None
        for size in range(len(numbers) // 2, 0, -1)
        for chosen in combinations(places, size)
    }
    return list(found)


def _results(x: Fraction, y: Fraction) -> Iterator[tuple[str, bool, Fraction]]:
    """(op, swapped, value): the values of ``x op y`` and, where it differs, of the swapped ``y op x``."""
    yield "+", False, x + y
    yield "-", False, x - y
    yield "-", True, y - x
    yield "*", False, x * y
    if y:
        yield "/", False, x / y
    if x:
        yield "/", True, y / x


def _partners(x: Fraction, target: Fraction) -> Iterator[tuple[str, bool, Fraction]]:
    """(op, swapped, y): the y for which ``x op y``, or swapped ``y op x``, is the target, which is not 0."""
    yield "+", False, target - x
    yield "-", False, x - target
    yield "-", True, x + target
    if x:
        yield "*", False, target / x
        yield "/", False, x / target
        yield "/", True, x * target


def _join(op: str, a: Expression, b: Expression) -> Chain:
    """The normal form of ``a op b``."""
    kind = "+" if op in "+-" else "*"
    (direct, inverse), (more, less) = _members(kind, a), _members(kind, b)
    if op in "-/":
        more, less = less, more
    return Chain(kind, _ordered(direct + more), _ordered(inverse + less))


def _members(kind: str, e: Expression) -> tuple[tuple[Expression, ...], tuple[Expression, ...]]:
    return (e.direct, e.inverse) if isinstance(e, Chain) and e.kind == kind else ((e,), ())


def _ordered(members: tuple[Expression, ...]) -> tuple[Expression, ...]:
    return members if len(members) < 2 else tuple(sorted(members, key=render))


@cache
def render(e: Expression) -> str:
    """The expression as a formula of the strict grammar: ``8/(3-8/3)``."""
    if isinstance(e, int):
        return str(e)
    inverse = "-" if e.kind == "+" else "/"
    return e.kind.join(map(_member, e.direct)) + "".join(inverse + _member(m) for m in e.inverse)


def _member(e: Expression) -> str:
    # A chain is never a member of its own kind, so a sum here is a factor.
    return f"({render(e)})" if isinstance(e, Chain) and e.kind == "+" else render(e)
