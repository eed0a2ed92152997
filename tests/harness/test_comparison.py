import pytest

from points24.harness.comparison import difference, paired_table
from points24.harness.statistics import Paired, sign_flip
from points24.tasks.cards import RULES, hand_of
from points24.tasks.hand_sets import hand_set
from tests.leaderboards.conftest import record


def test_the_2x2_of_two_records():
    assert paired_table("110100", "101100") == Paired(2, 1, 1, 2)


def test_where_hands_repeat_tests_and_intervals_go_by_hand():
    hands = hand_set("ood_paper", RULES["ood"])
    first, second = "10" * 117, "01" * 10 + "10" * 107
    common = {"task": "points24_ood_paper", "hand_set": "ood_paper", "hand_set_digest": hands.digest}
    a, b = record(first, **common), record(second, model="b", **common)
    found = difference(a, b)
    played = [hand_of(deal.cards) for deal in hands.deals]
    assert found.p == sign_flip([int(x) - int(y) for x, y in zip(first, second, strict=True)], played)


def test_different_protocols_are_never_compared():
    with pytest.raises(ValueError, match="different protocols"):
        difference(record(), record(attempts=5))
