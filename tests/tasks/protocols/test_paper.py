"""The paper's verifier. The expectations in the case file are the reference's own, run on our replies."""

import json
from pathlib import Path

import pytest

from points24.tasks.cards import RULES, Deal
from points24.tasks.paper_match import extract_paper
from points24.tasks.protocols.protocol import read_protocol
from points24.tasks.protocols.verifiers.paper_solutions import listed_solutions
from points24.tasks.solver import solutions
from points24.tasks.verdict import PAPER, judge_reply

CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "cases" / "paper_replies.jsonl").read_text("utf-8").splitlines()
]
PAPERS = read_protocol("paper")


def dealt(cards, rule="ood"):
    return Deal(tuple(cards.split()), RULES[rule])


def test_every_case_has_the_success_and_the_reward_of_the_reference():
    assert len(CASES) >= 200
    for case in CASES:
        deal = Deal(tuple(case["cards"]), RULES[case["rule"]])
        found = PAPERS.verify(deal, case["reply"])
        assert (found.success, found.reward) == (case["success"], case["reward"]), case
        assert (found.message is None) == found.success
        # The filter with the float checker is the verifier's success, so acc_float counts what it counts.
        assert judge_reply(deal, case["reply"], PAPER).correct_in_floats == case["success"], case


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("13+5*2+1", "the formula has a character that is not allowed"),
        ('"formula": "10*2+5-1"', "these numbers are not on the cards: [10], these numbers of the cards are left over: [13]"),
        ('"formula": "13+5*2+1+1"', "these numbers occur more often than on the cards: [1]"),
        ('"formula": "13+5*2*1"', "a solution begins with 13+5*2, but none goes on as the formula does"),
        ('"formula": "-13+5*2+(1"', "a sign stands where a number was expected"),
    ],
)  # fmt: skip
def test_the_message_lists_what_was_found(reply, why):
    assert PAPERS.verify(dealt("K 5 A 2"), reply).message == f"That try did not succeed: {why}."


def test_a_right_formula_that_floats_reject_goes_on_without_a_reason():
    found = PAPERS.verify(dealt("3 3 8 8"), '"formula": "8/(3-8/3)"')
    assert (found.success, found.reward, found.message) == (False, 0, "That try did not succeed: .")
    assert (found.judgement.verdict.value, found.judgement.correct_in_floats) == ("correct", False)


def test_the_listed_solutions_are_right_and_reach_what_can_be_reached():
    for cards in ("K 5 A 2", "3 3 8 8", "6 6 6 6", "A 3 2 4", "J Q K A"):
        deal = dealt(cards)
        listed = listed_solutions(tuple(sorted(deal.values)), 24)
        assert bool(listed) == bool(solutions(deal.values, 24))
        for formula in listed:
            reply = json.dumps({"formula": formula})
            assert judge_reply(deal, reply, PAPER).verdict.value == "correct", formula


@pytest.mark.parametrize("reply", [None, 24, b'"formula": "13+5*2+1"', ["13+5*2+1"]])
def test_anything_but_text_holds_no_formula(reply):
    found = PAPERS.verify(dealt("K 5 A 2"), reply)
    assert (found.success, found.reward, found.judgement.verdict.value) == (False, -3, "no_answer")


def test_hostile_replies_take_no_time():
    for reply in (
        '"formula": "' + "(" * 500_000,
        '"formula": "' * 50_000,
        '"formula": "' + "1+" * 200_000 + '1"',
        "[" * 200_000,
    ):
        assert extract_paper(reply) != "13"
        assert not PAPERS.verify(dealt("K 5 A 2"), reply).success


def test_the_reply_that_training_teaches_is_right_for_the_paper_alone():
    deal = dealt("K 5 A 2")
    reply = PAPERS.reply(deal, "13+5*2+1")
    assert reply == (
        "{\n  \"cards\": ['K', '5', 'A', '2'],\n"
        '  "number": [13, 5, 1, 2],\n  "formula": "13+5*2+1=24",\n}'
    )
    verdicts = [judge_reply(deal, reply, name).verdict.value for name in PAPERS.filters]
    assert verdicts == ["correct", "no_answer", "correct"]
