import pytest

from points24.tasks.cards import RULES, Deal
from points24.tasks.feedback import feedback
from points24.tasks.verdict import Judgement, Verdict, judge

BEGIN, END = "Your formula is not correct: ", ". Reply again in the same form.\nReply:"
NOT_THE_CARDS = "it does not use the number of each card exactly once"


@pytest.mark.parametrize(
    ("cards", "formula", "verdict", "why"),
    [
        ("K 5 A 2", "13+5*2-1", "wrong_value", "it equals 22, not 24"),
        ("2 2 3 4", "3*4/(2-2)", "wrong_value", "it divides by zero"),
        ("K 5 A 2", "13+11", "wrong_numbers", NOT_THE_CARDS),
        ("K 4 4 J", "(10*10-4)/4", "wrong_rule", NOT_THE_CARDS),
        ("K 5 A 2", "(13+5*2", "illegal", "not a legal formula: expected ')', found 'the end'"),
        ("K 5 A 2", "{0}", "illegal", "not a legal formula: unexpected '{'"),
        ("K 5 A 2", None, "no_answer", "no formula found"),
    ],
)
def test_the_message_says_what_is_wrong(cards, formula, verdict, why):
    judgement = judge(Deal(tuple(cards.split()), RULES["ood"]), formula)
    assert judgement.verdict.value == verdict
    assert feedback(judgement) == BEGIN + why + END


def test_every_verdict_but_correct_has_a_message():
    for verdict in set(Verdict) - {Verdict.CORRECT}:
        message = feedback(Judgement(verdict, "1+1", "some reason"))
        assert message.startswith(BEGIN)
        assert message.endswith(END)


@pytest.mark.parametrize(("rule", "formula"), [("ood", "10*2+5-1"), ("id", "13+5*2+1")])
def test_that_another_rule_would_do_is_not_given_away(rule, formula):
    """The message is that of any other wrong choice of numbers."""
    deal = Deal(("K", "5", "A", "2"), RULES[rule])
    wrong_numbers = judge(deal, "7+7+7+3")
    assert wrong_numbers.verdict is Verdict.WRONG_NUMBERS
    wrong_rule = judge(deal, formula)
    assert wrong_rule.verdict is Verdict.WRONG_RULE
    assert feedback(wrong_rule) == feedback(wrong_numbers)
