"""Worked steps, checked by reading them back with nothing but fractions."""

import random
from fractions import Fraction

import pytest

from points24.tasks.cards import RANKS, RULES, Deal
from points24.tasks.solver import solutions
from points24.tasks.working import is_plain, thinking

DEAL = Deal(("K", "5", "A", "2"), RULES["ood"])


def test_without_working_nothing_stands_before_the_answer():
    assert thinking(DEAL, "13+5*2+1", "none", random.Random(0)) == ""


def test_a_formula_is_worked_out_line_by_line():
    assert thinking(DEAL, "13+5*2+1", "steps", random.Random(0)) == (
        "<think>\n13 5 1 2\n5 * 2 = 10 | 10 13 1\n13 + 10 = 23 | 23 1\n23 + 1 = 24 | 24\n</think>\n"
    )


def test_fractions_are_exact_and_in_brackets_as_operands():
    deal = Deal(("3", "8", "3", "8"), RULES["id"])
    assert thinking(deal, "8/(3-8/3)", "steps", random.Random(0)).splitlines()[1:-1] == [
        "3 8 3 8", "8 / 3 = 8/3 | 8/3 3 8", "3 - (8/3) = 1/3 | 1/3 8", "8 / (1/3) = 24 | 24",
    ]  # fmt: skip


def number(text):
    return Fraction(text.strip("()"))


def followed(deal, text):
    """The numbers that are left at the end, and the operations taken back, by reading the lines alone."""
    assert text.startswith("<think>\n")
    assert text.endswith("\n</think>\n")
    first, *lines = text.splitlines()[1:-1]
    left = list(map(number, first.split()))
    assert left == list(deal.values)
    before, detours = left, []
    for line in lines:
        said, _, shown = line.partition(" | ")
        if said == "back":
            detours.append(left)
            left = before
        else:
            a, op, b, _, value = said.split()
            assert op in "+-*/"
            a, b, value = map(number, (a, b, value))
            assert value == {"+": a + b, "-": a - b, "*": a * b, "/": b and a / b}[op]
            before, left = left, list(left)
            left.remove(a)
            left.remove(b)
            left.insert(0, value)
        assert list(map(number, shown.split())) == left
    return left, detours


def reaches(numbers, target):
    """Brute force over all orders and signs."""
    if len(numbers) == 1:
        return numbers[0] == target
    for i, a in enumerate(numbers):
        for j, b in enumerate(numbers):
            if i != j:
                rest = [x for k, x in enumerate(numbers) if k not in (i, j)]
                for value in (a + b, a - b, a * b, *([a / b] if b else [])):
                    if reaches([value, *rest], target):
                        return True
    return False


@pytest.mark.parametrize("working", ["steps", "search"])
def test_every_line_follows_from_the_one_before_and_detours_lead_nowhere(working):
    rng, taken = random.Random(1), 0
    for _ in range(150):
        deal = Deal(tuple(rng.choices(RANKS, k=4)), RULES["ood"], rng.choice([24, 24, 10, 36]))
        for formula in solutions(deal.values, deal.target)[:2]:
            left, detours = followed(deal, thinking(deal, formula, working, rng))
            assert left == [deal.target]
            assert not any(reaches(numbers, deal.target) for numbers in detours)
            taken += len(detours)
    assert (taken > 40) == (working == "search")


def test_a_plain_formula_has_natural_numbers_in_every_step():
    assert is_plain("13+5*2+1")
    assert is_plain("(5-5)*7+24")
    assert not is_plain("8/(3-8/3)")
    assert not is_plain("(2-5)*(1-9)")
