"""Worked steps, checked by reading them back with nothing but fractions."""

import random
from fractions import Fraction

import pytest

from points24.tasks.cards import RANKS, RULES, Deal
from points24.tasks.solver import solutions
from points24.tasks.verdict import Verdict, judge
from points24.tasks.working import taken_back, thinking, wander

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


def test_what_is_taken_back_is_found():
    thought = (
        "<think>\n13 5 1 2\n13 * 2 = 26 | 26 5 1\n26 + 5 = 31 | 31 1\nback | 26 5 1\nback | 13 5 1 2\n"
        "5 * 2 = 10 | 10 13 1\n13 + 10 = 23 | 23 1\n23 + 1 = 24 | 24\n</think>\n"
    )
    assert [thought[start:end] for start, end in taken_back(thought)] == ["26 + 5 =", "13 * 2 ="]
    assert list(taken_back(thinking(DEAL, "13+5*2+1", "steps", random.Random(0)))) == []


def test_of_two_numbers_no_detour_is_taken_and_the_form_does_not_tell_good_from_bad():
    rng = random.Random(2)
    for _ in range(100):
        thought = thinking(DEAL, "13+5*2+1", "search", rng)
        for start, end in taken_back(thought):
            a, op, b, _ = thought[start:end].split()
            assert op not in "+*" or int(a) >= int(b)
            left = thought[end:].partition(" | ")[2].partition("\n")[0]
            assert len(left.split()) >= 2


def test_a_solution_by_chance_is_right_and_has_natural_numbers_on_its_way():
    rng, found = random.Random(3), {}
    for _ in range(200):
        deal = Deal(tuple(rng.choices(RANKS, k=4)), RULES["ood"], rng.choice([24, 10, 36]))
        if not (formula := wander(deal, rng)):
            continue
        assert judge(deal, formula).verdict is Verdict.CORRECT
        lines = thinking(deal, formula, "steps", rng).splitlines()[2:-1]
        values = [line.partition(" = ")[2].partition(" | ")[0] for line in lines]
        assert all(value.isdecimal() for value in values)
        found[deal.values] = formula
    assert len(found) > 100


def test_solutions_by_chance_are_many_and_parsed_into_their_own_operations():
    rng = random.Random(4)
    found = {wander(DEAL, rng) for _ in range(300)}
    assert found == {"(13-5)*(2+1)", "13+1+5*2", "13+(5*2+1)", "13+5*2+1"}
    third = thinking(DEAL, "13+(5*2+1)", "steps", rng).splitlines()[2:-1]
    assert third == ["5 * 2 = 10 | 10 13 1", "10 + 1 = 11 | 11 13", "13 + 11 = 24 | 24"]


def test_where_every_solution_needs_fractions_or_negative_numbers_there_is_none_by_chance():
    assert wander(Deal(("3", "8", "3", "8"), RULES["id"]), random.Random(0)) is None
