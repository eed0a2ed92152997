"""Worked steps, checked by reading them back with nothing but fractions."""

import random
from fractions import Fraction

import pytest

from points24.tasks.cards import RANKS, RULES, Deal
from points24.tasks.solver import solutions
from points24.tasks.verdict import Verdict, judge
from points24.tasks.working import wander, worked
from tests.tasks.brute_force import reaches

DEAL = Deal(("K", "5", "A", "2"), RULES["ood"])


def test_without_working_nothing_stands_before_the_answer():
    assert worked(DEAL, "13+5*2+1", "none", random.Random(0)) == ("", "13+5*2+1")


def test_a_formula_is_worked_out_line_by_line():
    assert worked(DEAL, "13+5*2+1", "steps", random.Random(0)) == (
        "<think>\n13 5 1 2\n5 * 2 = 10 | 10 13 1\n13 + 10 = 23 | 23 1\n23 + 1 = 24 | 24\n</think>\n",
        "13+5*2+1",
    )


def test_a_search_tries_in_order_takes_back_what_loses_the_target_and_answers_what_it_finds():
    thought, formula = worked(DEAL, "13+5*2+1", "search", random.Random(0))
    assert thought.splitlines()[1:6] == [
        "13 5 1 2",
        "13 - 5 = 8 | 8 1 2",  # 13 / 5 is no natural number, 13 * 5 more than twice 24
        "2 + 1 = 3 | 3 8",
        "8 * 3 = 24 | 24",
        "</think>",
    ]
    assert formula == "(13-5)*(2+1)"
    deal = Deal(("5", "3", "2", "2"), RULES["id"])
    assert worked(deal, "(2*5-2)*3", "search", random.Random(0))[0].splitlines()[1:9] == [
        "5 3 2 2",
        "5 * 3 = 15 | 15 2 2",
        "back | 5 3 2 2",
        "5 - 3 = 2 | 2 2 2",
        "back | 5 3 2 2",
        "5 + 3 = 8 | 8 2 2",
        "back | 5 3 2 2",
        "5 * 2 = 10 | 10 3 2",  # 5 / 2 is no natural number
    ]


def test_a_search_that_natural_numbers_cannot_end_gives_way_to_the_steps_of_the_formula():
    deal = Deal(("3", "8", "3", "8"), RULES["id"])
    assert worked(deal, "8/(3-8/3)", "search", random.Random(0)) == worked(
        deal, "8/(3-8/3)", "steps", random.Random(0)
    )


def test_fractions_are_exact_and_in_brackets_as_operands():
    deal = Deal(("3", "8", "3", "8"), RULES["id"])
    assert worked(deal, "8/(3-8/3)", "steps", random.Random(0))[0].splitlines()[1:-1] == [
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
    before, detours = [], []
    for line in lines:
        said, _, shown = line.partition(" | ")
        if said == "back":
            detours.append(left)
            left = before.pop()
        else:
            a, op, b, _, value = said.split()
            assert op in "+-*/"
            a, b, value = map(number, (a, b, value))
            assert value == {"+": a + b, "-": a - b, "*": a * b, "/": b and a / b}[op]
            before.append(left)
            left = list(left)
            left.remove(a)
            left.remove(b)
            left.insert(0, value)
        assert list(map(number, shown.split())) == left
    return left, detours


@pytest.mark.parametrize("working", ["steps", "search"])
def test_every_line_follows_from_the_one_before_and_what_is_taken_back_leads_nowhere(working):
    rng, taken = random.Random(1), 0
    for _ in range(150):
        deal = Deal(tuple(rng.choices(RANKS, k=4)), RULES["ood"], rng.choice([24, 24, 10, 36]))
        for given in solutions(deal.values, deal.target)[:2]:
            thought, formula = worked(deal, given, working, rng)
            left, back = followed(deal, thought)
            assert left == [deal.target]
            assert judge(deal, formula).verdict is Verdict.CORRECT
            assert not any(reaches(numbers, deal.target) for numbers in back)
            assert len(set(map(tuple, map(sorted, back)))) == len(back)
            taken += len(back)
    assert (taken > 200) == (working == "search")


def test_a_solution_by_chance_is_right_and_has_natural_numbers_on_its_way():
    rng, found = random.Random(3), {}
    for _ in range(200):
        deal = Deal(tuple(rng.choices(RANKS, k=4)), RULES["ood"], rng.choice([24, 10, 36]))
        if not (formula := wander(deal, rng)):
            continue
        assert judge(deal, formula).verdict is Verdict.CORRECT
        lines = worked(deal, formula, "steps", rng)[0].splitlines()[2:-1]
        values = [line.partition(" = ")[2].partition(" | ")[0] for line in lines]
        assert all(value.isdecimal() for value in values)
        found[deal.values] = formula
    assert len(found) > 100


def test_solutions_by_chance_are_many_and_parsed_into_their_own_operations():
    rng = random.Random(4)
    found = {wander(DEAL, rng) for _ in range(300)}
    assert found == {"(13-5)*(2+1)", "13+1+5*2", "13+(5*2+1)", "13+5*2+1"}
    third = worked(DEAL, "13+(5*2+1)", "steps", rng)[0].splitlines()[2:-1]
    assert third == ["5 * 2 = 10 | 10 13 1", "10 + 1 = 11 | 11 13", "13 + 11 = 24 | 24"]


def test_where_every_solution_needs_fractions_or_negative_numbers_there_is_none_by_chance():
    assert wander(Deal(("3", "8", "3", "8"), RULES["id"]), random.Random(0)) is None
