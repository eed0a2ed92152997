import pytest

from points24.harness.analysis.comparison import difference, paired_table, recovered_share
from points24.harness.analysis.statistics import Paired, ratio_interval, sign_flip
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


def test_what_is_recovered_is_a_share_of_what_was_lost():
    source, target = record("1" * 12 + "0" * 8), record("0" * 19 + "1")
    recovered = record("1" * 6 + "0" * 13 + "1")
    gains, losses = [1] * 6 + [0] * 14, [1] * 12 + [0] * 7 + [-1]
    assert recovered_share(recovered, source, target) == (6 / 11, ratio_interval(gains, losses))
    assert recovered_share(source, source, target) == (1, (1, 1))
    assert recovered_share(target, source, target) == (0, (0, 0))


def test_where_nothing_was_lost_nothing_is_recovered_share():
    assert recovered_share(record("1110"), record("1100"), record("0011")) is None
    assert recovered_share(record("1110"), record("1000"), record("0011")) is None


def test_where_hands_repeat_what_is_recovered_goes_by_hand():
    hands = hand_set("ood_paper", RULES["ood"])
    common = {"task": "points24_ood_paper", "hand_set": "ood_paper", "hand_set_digest": hands.digest}
    source, recovered, target = (record(bits * 78, **common) for bits in ("110", "100", "001"))
    played = [hand_of(deal.cards) for deal in hands.deals]
    expected = ratio_interval([1, 0, -1] * 78, [1, 1, -1] * 78, played)
    assert recovered_share(recovered, source, target) == (0, expected)
    assert expected != ratio_interval([1, 0, -1] * 78, [1, 1, -1] * 78)


def test_only_records_of_one_protocol_make_a_share():
    with pytest.raises(ValueError, match="one protocol"):
        recovered_share(record(), record(), record(attempts=5))
