"""Deals of plain numbers: the puzzles of the "Game of 24" papers, and Countdown.

The 1,362 puzzles are the numbers from 1 to 13 of which four reach 24, each once: what `ood` and `plain_ood`
ask as cards. Those of "Tree of Thoughts" (Yao et al. 2023, arXiv:2305.10601) are 100 of them, ranked 901 to
1,000 by the time that people need. Code finds the puzzles; only that order is data: the column Rank of
src/tot/data/24/24.csv in princeton-nlp/tree-of-thought-llm, MIT License, Copyright (c) 2023 Shunyu Yao.

A Countdown deal has 3 to 6 numbers from 1 to 99 and a target of its own from 10 to 100, and like every deal
here it uses each number once. Language models are asked so (Gandhi et al. 2024, arXiv:2404.03683); on
television numbers may be left over.
"""

from __future__ import annotations

import random
from functools import lru_cache
from itertools import count, cycle, islice
from typing import NamedTuple

from points24.tasks.cards import FEWEST, MOST, NUMBERS, TARGET, Deal, Hand, all_hands
from points24.tasks.formula import Expression, Operation, evaluate
from points24.tasks.solver import normal_form, render, solvable

DECK = tuple(map(str, range(1, 14)))
"""The numbers of the Game of 24."""

COUNTDOWN_DEALS = 1000
_NUMBERS, _TARGETS, _SEED = (1, 99), (10, 100), 24

# Places among the 1,362 puzzles in numeric order, from rank 901 to rank 1,000.
_HARD = (
    953, 73, 548, 724, 1205, 335, 317, 442, 141, 698, 959, 105, 987, 183, 257, 738, 507, 196, 392, 687, 255,
    1111, 1085, 498, 1207, 1280, 823, 1245, 1025, 1115, 493, 554, 1186, 1238, 1159, 1114, 1253, 394, 611, 579,
    755, 976, 100, 951, 1250, 166, 186, 461, 69, 263, 54, 151, 1174, 439, 1212, 1268, 735, 301, 446, 380, 580,
    1300, 165, 925, 305, 325, 676, 539, 884, 423, 932, 92, 262, 1103, 1258, 157, 708, 779, 1068, 465, 734,
    1150, 1223, 425, 572, 1168, 101, 484, 1088, 416, 750, 497, 395, 232, 1157, 935, 531, 514, 1051, 1059,
)  # fmt: skip


class Solved(NamedTuple):
    """A deal with one of its solutions."""

    deal: Deal
    formula: str


def hard_puzzles() -> list[Hand]:
    """The puzzles of "Tree of Thoughts", in its order."""
    puzzles = [hand for hand in all_hands(DECK) if solvable(tuple(map(int, hand)), TARGET)]
    return [puzzles[place] for place in _HARD]


@lru_cache(maxsize=1)
def countdown() -> tuple[Solved, ...]:
    """The Countdown deals. The numbers and a formula of them are drawn until its value may be a target.

    So no search is needed, which for six numbers would take seconds. Each size comes equally often among the
    first deals, too.
    """
    rng = random.Random(_SEED)
    sizes = islice(cycle(range(FEWEST, MOST + 1)), COUNTDOWN_DEALS)
    return tuple(next(filter(None, (_drawn(size, rng) for _ in count()))) for size in sizes)


def _drawn(size: int, rng: random.Random) -> Solved | None:
    drawn = [rng.randint(*_NUMBERS) for _ in range(size)]
    tree = _random_formula(drawn, rng)
    try:
        value = evaluate(tree)
    except ZeroDivisionError:
        return None
    if value.denominator > 1 or not _TARGETS[0] <= value <= _TARGETS[1]:
        return None
    return Solved(Deal(tuple(map(str, drawn)), NUMBERS, int(value)), render(normal_form(tree)))


def _random_formula(numbers: list[int], rng: random.Random) -> Expression:
    parts: list[Expression] = list(numbers)
    while len(parts) > 1:
        left, right = (parts.pop(rng.randrange(len(parts))) for _ in range(2))
        parts.append(Operation(rng.choice("+-*/"), left, right))
    return parts[0]
