import math

import pytest

from points24.tasks.cards import RULES, Deal
from points24.tasks.errors import InputError
from points24.tasks.rewards.tables import TABLES, rewards
from points24.tasks.verdict import Judgement, Verdict

OWN = {
    "correct": 2, "wrong_rule": 0.5, "wrong_value": 0, "wrong_numbers": -0.5, "illegal": -1, "no_answer": -2,
}  # fmt: skip
DEAL = Deal(("K", "5", "A", "2"), RULES["ood"])


def paid(given, formula=None):
    """The reward of each verdict, by name."""
    reward = rewards(given)
    return {verdict.value: reward(DEAL, Judgement(verdict, formula, "")) for verdict in Verdict}


def test_the_tables_hold_their_published_values():
    assert set(TABLES) == {"verdict", "sparse"}
    assert paid("verdict") == {
        "correct": 5, "wrong_value": -1, "wrong_rule": -2, "wrong_numbers": -2, "illegal": -3, "no_answer": -3,
    }  # fmt: skip
    assert paid("sparse") == {
        "correct": 1, "wrong_value": 0, "wrong_rule": 0, "wrong_numbers": 0, "illegal": 0, "no_answer": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("formula", "reward"),
    [
        ("13+5*2+1", 5),
        ("13+5*2-1", -1),  # the right numbers, but not 24
        ("10*2+5-1", -4),  # 10 is not on the cards, and the 13 is unused
        ("13+5*2+1+1", -2),  # the ace twice
        ("13+5", -2),  # 1 and 2 are unused
        ("13+5*2+*1", -3),  # a sign after a sign
        ("(13+5)*2+)1", -6),  # a parenthesis after a sign, and a number after the parenthesis
        ("13+(5*2+1", 1),  # the beginning of a solution, with every number
        ("13 + 5*2+1", -3),  # a blank, and nothing else is looked at
        (None, -3),
    ],
)
def test_the_papers_rewards_add_up_whatever_the_verdict(formula, reward):
    assert set(paid("paper", formula).values()) == {reward}


def test_a_table_of_ones_own_is_taken_as_it_is():
    found = paid(OWN)
    assert found == OWN
    assert all(isinstance(reward, float) for reward in found.values())


def without(*names: str) -> dict:
    return {name: reward for name, reward in OWN.items() if name not in names}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("dense", "rewards: expected paper or verdict or sparse or a table, found 'dense'"),
        (
            OWN | {"right": 1, "late": 1},
            "rewards: unknown verdict late, right; "
            "allowed: correct, wrong_rule, wrong_value, wrong_numbers, illegal, no_answer",
        ),
        (
            OWN | {1: 1},
            "rewards: unknown verdict 1; "
            "allowed: correct, wrong_rule, wrong_value, wrong_numbers, illegal, no_answer",
        ),
        (without("no_answer", "wrong_rule"), "rewards: no reward for wrong_rule, no_answer"),
        (OWN | {"correct": "five"}, "rewards: expected a finite number for correct, found 'five'"),
        (OWN | {"correct": True}, "rewards: expected a finite number for correct, found True"),
        (OWN | {"illegal": None}, "rewards: expected a finite number for illegal, found None"),
        (OWN | {"illegal": math.nan}, "rewards: expected a finite number for illegal, found nan"),
        (OWN | {"illegal": -math.inf}, "rewards: expected a finite number for illegal, found -inf"),
    ],
)
def test_a_table_that_is_none_is_refused(table, message):
    with pytest.raises(InputError) as error:
        rewards(table)
    assert str(error.value) == message
