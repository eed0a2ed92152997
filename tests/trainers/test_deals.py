import json
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from itertools import islice

import pytest

from points24.tasks.cards import Deal, Hand, all_hands, hand_of, parse_rule
from points24.tasks.hand_sets import hand_set, held_out_numbers
from points24.tasks.lm_eval.task import StrictMatch, documents
from points24.tasks.prompts import template
from points24.tasks.protocols.protocol import read_protocol
from points24.tasks.solver import solutions, solvable
from points24.trainers.deals import SOLUTIONS, completion_row, deals, examples, prompt_row
from tests.tasks.oracle import is_correct

RULES = ("id", "ood", "J=5,Q=7,K=9")


@lru_cache
def hands_to_draw(name: str) -> set[Hand]:
    """Solvable under the rule, and not held out: neither what the ID rule asks nor what this rule asks."""
    rule = parse_rule(name)
    return {
        hand
        for hand in all_hands()
        if solvable(Deal(hand, rule).values, 24)
        and not {numbers_of(hand, name), numbers_of(hand, "id")} & held_out_numbers()
    }


def numbers_of(hand: Hand, rule: str) -> tuple[int, ...]:
    return tuple(sorted(Deal(hand, parse_rule(rule)).values))


def two_passes(rule: str, seed: int = 0) -> tuple[list[Deal], list[Deal]]:
    source, size = deals(parse_rule(rule), seed), len(hands_to_draw(rule))
    return list(islice(source, size)), list(islice(source, size))


def first(rule: str, policy: str, seed: int, n: int = 30) -> list[tuple[Deal, str]]:
    return list(islice(examples(parse_rule(rule), policy, seed), n))


@pytest.mark.parametrize("rule", RULES)
def test_a_pass_holds_every_hand_that_may_be_drawn_once(rule):
    for drawn in two_passes(rule):
        assert Counter(hand_of(deal.cards) for deal in drawn) == Counter(hands_to_draw(rule))
        assert {(deal.rule, deal.target) for deal in drawn} == {(parse_rule(rule), 24)}


def test_under_the_known_rules_these_are_the_seen_hands():
    for rule in ("id", "ood"):
        seen = hand_set("id_seen", parse_rule(rule)).deals
        assert hands_to_draw(rule) == {hand_of(deal.cards) for deal in seen}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("policy", SOLUTIONS)
def test_held_out_numbers_are_never_taught(rule, policy):
    for deal, _ in first(rule, policy, seed=0, n=1000):
        assert not {numbers_of(deal.cards, rule), numbers_of(deal.cards, "id")} & held_out_numbers()


@pytest.mark.parametrize("what", ["deals", "examples"])
def test_passes_differ_in_the_order_of_hands_and_cards(what):
    drawn = [*two_passes("id")]
    if what == "examples":
        size = len(drawn[0])
        taught = [deal for deal, _ in first("id", "shortest", seed=0, n=2 * size)]
        drawn = [taught[:size], taught[size:]]
    one, other = ([hand_of(deal.cards) for deal in part] for part in drawn)
    assert one != other
    shown = [{hand_of(deal.cards): deal.cards for deal in part} for part in drawn]
    four_ranks = [hand for hand in shown[0] if len(set(hand)) == 4]
    # Of 24 orders each: 1 in 24 stays, and 1 in 24 is in rank order.
    assert sum(shown[0][hand] == shown[1][hand] for hand in four_ranks) < len(four_ranks) / 10
    assert sum(shown[0][hand] == hand for hand in four_ranks) < len(four_ranks) / 10


@pytest.mark.parametrize("policy", SOLUTIONS)
def test_the_seed_alone_decides_what_is_drawn(policy):
    assert first("id", policy, seed=3) == first("id", policy, seed=3)
    assert first("id", policy, seed=3) != first("id", policy, seed=4)
    one, again, other = (list(islice(deals(parse_rule("id"), seed), 30)) for seed in (3, 3, 4))
    assert one == again != other


def test_shortest_takes_the_solvers_first_solution():
    for deal, formula in first("id", "shortest", seed=0, n=1000):
        assert formula == solutions(deal.values, 24)[0]


def test_all_takes_each_solution_of_each_hand_once_per_pass():
    wanted = Counter(
        (hand, formula) for hand in hands_to_draw("id") for formula in solutions(numbers_of(hand, "id"), 24)
    )
    for drawn in (first("id", "all", seed, wanted.total()) for seed in (0, 1)):
        assert Counter((hand_of(deal.cards), formula) for deal, formula in drawn) == wanted


def test_random_takes_other_solutions_in_other_passes():
    size = len(hands_to_draw("id"))
    drawn = first("id", "random", seed=0, n=2 * size)
    passes = [
        {hand_of(deal.cards): formula for deal, formula in part} for part in (drawn[:size], drawn[size:])
    ]
    assert passes[0].keys() == passes[1].keys()
    several = [hand for hand in passes[0] if len(solutions(numbers_of(hand, "id"), 24)) > 1]
    changed = sum(passes[0][hand] != passes[1][hand] for hand in several)
    assert changed > len(several) / 3  # of two solutions, half


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("policy", SOLUTIONS)
def test_every_formula_is_right(rule, policy):
    for deal, formula in first(rule, policy, seed=0, n=300):
        assert is_correct(formula, deal.values, 24)


@pytest.mark.parametrize("rule", RULES)
def test_prompt_and_completion_are_what_lm_eval_asks_and_takes_as_correct(rule):
    seen = hand_set("id_seen", parse_rule(rule))
    hands = replace(seen, deals=seen.deals[:50], weights=seen.weights[:50])
    asked = read_protocol("points24")
    for doc in documents(hands, asked, template()):
        deal = Deal(tuple(doc["cards"]), parse_rule(rule))
        assert prompt_row(deal, template(), chat=False) == {"prompt": doc["prompt"]}
        assert prompt_row(deal, template(), chat=True) == {
            "prompt": [{"role": "user", "content": doc["prompt"]}]
        }
        formula = solutions(deal.values, 24)[-1]
        reply = completion_row(deal, formula, asked, chat=False)["completion"]
        assert completion_row(deal, formula, asked, chat=True) == {
            "completion": [{"role": "assistant", "content": reply}]
        }
        (judged,) = StrictMatch().apply([[reply]], [doc])
        assert json.loads(judged)["verdict"] == "correct"
        assert json.loads(judged)["formula"] == formula
        shown = solutions(deal.values, 24)[0]
        assert completion_row(deal, shown, asked, chat=False)["completion"] == doc["reply"]
