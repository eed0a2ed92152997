"""The verifier of the protocol points24: what it tells the model after each verdict."""

import pytest

from points24.tasks.cards import RULES, Deal
from points24.tasks.prompts import json_reply
from points24.tasks.protocols.protocol import read_protocol

POINTS24 = read_protocol("points24")
BEGIN, END = "Your formula is not correct: ", ". Reply again in the same form.\nReply:"
NOT_THE_CARDS = "it does not use the number of each card exactly once"


def verified(cards, formula, rule="ood"):
    deal = Deal(tuple(cards.split()), RULES[rule])
    return POINTS24.verify(deal, "I pass" if formula is None else json_reply(deal, formula))


@pytest.mark.parametrize(
    ("cards", "formula", "verdict", "reward", "why"),
    [
        ("K 5 A 2", "13+5*2-1", "wrong_value", -1, "it equals 22, not 24"),
        ("2 2 3 4", "3*4/(2-2)", "wrong_value", -1, "it divides by zero"),
        ("K 5 A 2", "13+11", "wrong_numbers", -2, NOT_THE_CARDS),
        ("K 4 4 J", "(10*10-4)/4", "wrong_rule", -2, NOT_THE_CARDS),
        ("K 5 A 2", "(13+5*2", "illegal", -3, "not a legal formula: expected ')', found 'the end'"),
        ("K 5 A 2", "{0}", "illegal", -3, "not a legal formula: unexpected '{'"),
        ("K 5 A 2", None, "no_answer", -3, "no formula found"),
    ],
)
def test_the_message_says_what_is_wrong(cards, formula, verdict, reward, why):
    found = verified(cards, formula)
    assert (found.judgement.verdict.value, found.success, found.reward) == (verdict, False, reward)
    assert found.message == BEGIN + why + END


def test_a_right_formula_ends_the_dialogue():
    found = verified("K 5 A 2", "13+5*2+1")
    assert (found.success, found.reward, found.message) == (True, 5, None)


@pytest.mark.parametrize(("rule", "formula"), [("ood", "10*2+5-1"), ("id", "13+5*2+1")])
def test_that_another_rule_would_do_is_not_given_away(rule, formula):
    """The message is that of any other wrong choice of numbers."""
    wrong_numbers = verified("K 5 A 2", "7+7+7+3", rule)
    assert wrong_numbers.judgement.verdict.value == "wrong_numbers"
    wrong_rule = verified("K 5 A 2", formula, rule)
    assert wrong_rule.judgement.verdict.value == "wrong_rule"
    assert wrong_rule.message == wrong_numbers.message
