from itertools import permutations, product

import pytest

from points24.tasks.cards import RULES, Deal, all_hands
from points24.tasks.solver import solutions, solvable
from points24.tasks.verdict import FILTERS, Verdict, judge
from tests.tasks.oracle import is_correct, numbers_and_value


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((3, 3, 8, 8), ["8/(3-8/3)"]),
        ((1, 5, 5, 5), ["5*(5-1/5)"]),
        ((3, 3, 7, 7), ["(3+3/7)*7"]),
        ((1, 1, 1, 1), []),
        # By hand: 1*2*3*4 and its form with /1, and two groupings of sums.
        ((1, 2, 3, 4), ["1*2*3*4", "2*3*4/1", "(1+2+3)*4", "(1+3)*(2+4)"]),
    ],
)
def test_known_hands(numbers, expected):
    assert sorted(solutions(numbers, 24)) == sorted(expected)


def test_the_order_of_the_numbers_does_not_matter():
    assert {solutions(p, 24) for p in permutations((2, 3, 5, 12))} == {solutions((2, 3, 5, 12), 24)}


def test_solvable_means_that_there_is_a_solution(known_counts):
    hands = {rule: [Deal(hand, RULES[rule]).values for hand in all_hands()] for rule in RULES}
    for values in hands["id"] + hands["ood"]:
        assert solvable(values, 24) == bool(solutions(values, 24))
    assert sum(solvable(v, 24) for v in hands["ood"]) == known_counts["solvable_rule_11_12_13*"]
    assert sum(solvable(v, 24) for v in hands["id"]) == known_counts["hands_solvable_rule_10 (id)"]


def test_every_solution_of_every_hand_is_correct_in_both_modes():
    for hand, rule, extraction in product(all_hands(), RULES.values(), FILTERS):
        deal = Deal(hand, rule)
        for formula in solutions(deal.values, deal.target):
            assert judge(deal, formula, extraction).verdict is Verdict.CORRECT, (deal, formula)


def test_every_solution_satisfies_the_oracle_and_is_listed_once():
    for hand in all_hands()[::7]:
        deal = Deal(hand, RULES["ood"])
        formulas = solutions(deal.values, deal.target)
        assert len(set(formulas)) == len(formulas)
        assert all(is_correct(formula, deal.values, deal.target) for formula in formulas)


@pytest.mark.parametrize("numbers", [(2, 3, 4, 6), (1, 5, 7, 13), (4, 4, 10, 10), (6, 6, 6, 6), (1, 2, 7, 7)])
def test_nothing_is_missed(numbers):
    """Every full parenthesisation, by brute force, hits the target exactly when the solver says so."""
    shapes = [
        "(({}{}{}){}{}){}{}",
        "({}{}({}{}{})){}{}",
        "({}{}{}){}({}{}{})",
        "{}{}(({}{}{}){}{})",
        "{}{}({}{}({}{}{}))",
    ]
    found = False
    for p in set(permutations(numbers)):
        for a, b, c in product("+-*/", repeat=3):
            for shape in shapes:
                formula = shape.format(p[0], a, p[1], b, p[2], c, p[3])
                found = found or numbers_and_value(formula)[1] == 24
    assert solvable(numbers, 24) == found


def test_other_sizes_and_targets():
    assert solutions((24,), 24) == ()  # a formula has an operator
    assert solutions((4, 6), 24) == ("4*6",)
    assert solvable((1, 3, 4, 6, 7), 24)
    assert not solvable((1, 1, 1, 1), 100)
