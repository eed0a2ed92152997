import math

import pytest

from points24.tasks.errors import InputError
from points24.tasks.rewards.tables import TABLES, rewards
from points24.tasks.verdict import Verdict

OWN = {
    "correct": 2, "wrong_rule": 0.5, "wrong_value": 0, "wrong_numbers": -0.5, "illegal": -1, "no_answer": -2,
}  # fmt: skip


@pytest.mark.parametrize("name", ["paper", "sparse"])
def test_a_named_table_rewards_every_verdict_and_a_correct_formula_most(name):
    table = rewards(name)
    assert table.keys() == set(Verdict)
    others = [reward for verdict, reward in table.items() if verdict is not Verdict.CORRECT]
    assert table[Verdict.CORRECT] > max(others)


def test_the_tables_hold_their_published_values():
    assert set(TABLES) == {"paper", "sparse"}
    assert {verdict.value: reward for verdict, reward in rewards("paper").items()} == {
        "correct": 5, "wrong_value": -1, "wrong_rule": -2, "wrong_numbers": -2, "illegal": -3, "no_answer": -3,
    }  # fmt: skip
    assert {verdict.value: reward for verdict, reward in rewards("sparse").items()} == {
        "correct": 1, "wrong_value": 0, "wrong_rule": 0, "wrong_numbers": 0, "illegal": 0, "no_answer": 0,
    }  # fmt: skip


def test_a_table_of_ones_own_is_taken_as_it_is():
    table = rewards(OWN)
    assert {verdict.value: reward for verdict, reward in table.items()} == OWN
    assert all(isinstance(verdict, Verdict) for verdict in table)
    assert all(isinstance(reward, float) for reward in table.values())


def without(*names: str) -> dict:
    return {name: reward for name, reward in OWN.items() if name not in names}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("dense", "rewards: expected paper or sparse or a table, found 'dense'"),
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
