import copy
import pickle
import re

import pytest

from points24.tasks.cards import (
    NUMBERS,
    RULES,
    Deal,
    Rule,
    all_hands,
    hand_of,
    has_face,
    parse_any_rule,
    parse_cards,
    parse_rule,
)
from points24.tasks.errors import InputError


def test_there_are_1820_hands(known_counts):
    hands = all_hands()
    assert len(hands) == len(set(hands)) == known_counts["hands"]
    assert sum(map(has_face, hands)) == known_counts["hands_with_a_face_card"]
    assert sum(not has_face(hand) for hand in hands) == known_counts["number_hands_1_to_10"]


def test_values_follow_the_rule():
    cards = ("K", "Q", "J", "A")
    assert Deal(cards, RULES["id"]).values == (10, 10, 10, 1)
    assert Deal(cards, RULES["ood"]).values == (13, 12, 11, 1)
    assert Deal(cards, Rule(5, 7, 9)).values == (9, 7, 5, 1)


def test_a_hand_forgets_the_order_of_its_cards():
    assert hand_of(("K", "2", "10", "A")) == hand_of(("10", "A", "K", "2")) == ("A", "2", "10", "K")


@pytest.mark.parametrize("text", ["id", "ood", "J=5,Q=7,K=9", "OOD", " j=5, q=7, k=9 "])
def test_a_rule_survives_being_named_and_read_again(text):
    rule = parse_rule(text)
    assert parse_rule(rule.name) == rule


def test_a_mapping_that_is_a_known_rule_gets_its_name():
    assert parse_rule("J=11,Q=12,K=13").name == "ood"


@pytest.mark.parametrize(
    "text", ["", "iid", "J=5", "J=0,Q=1,K=2", "J=5,Q=7,K=-9", "J=5,Q=7,K=9999", "J=a,Q=b,K=c"]
)
def test_an_unknown_rule_is_refused_with_what_is_allowed(text):
    with pytest.raises(InputError, match=r"unknown rule .*allowed: id, ood, or a mapping"):
        parse_rule(text)


@pytest.mark.parametrize("text", ["K 5 A 2", "K,5,A,2", " k, 5,a 2 "])
def test_cards_are_read_from_words(text):
    assert parse_cards(text) == ("K", "5", "A", "2")


@pytest.mark.parametrize("cards", [(), ("A",), ("A",) * 2, ("A",) * 7])
def test_a_deal_has_three_to_six_cards(cards):
    with pytest.raises(InputError, match=rf"3 to 6 cards, found {len(cards)}"):
        Deal(cards, RULES["id"])


def test_plain_numbers_are_read_as_they_are_written():
    deal = Deal(("13", "1", "100", "7", "999"), NUMBERS, 431)
    assert deal.values == (13, 1, 100, 7, 999)
    assert hand_of(deal.cards) == ("1", "7", "13", "100", "999")
    assert parse_any_rule("numbers") == NUMBERS
    assert parse_any_rule("ood") == RULES["ood"]


def test_plain_numbers_are_no_rule_for_cards():
    with pytest.raises(InputError, match="unknown rule 'numbers'"):
        parse_rule("numbers")
    assert NUMBERS not in RULES.values()


@pytest.mark.parametrize("card", ["0", "A", "K", "03", "-3", "1000", "3.5", "٣", ""])
def test_what_is_no_plain_number_is_named(card):
    with pytest.raises(InputError, match=rf"expected whole numbers from 1 to 999, found '{re.escape(card)}'"):
        Deal(("3", "8", card), NUMBERS)


def test_a_deal_survives_being_copied_and_pickled():
    deal = Deal(("3", "3", "8", "8"), NUMBERS)
    assert pickle.loads(pickle.dumps(deal)) == deal == copy.deepcopy(deal)


@pytest.mark.parametrize("rank", ["1", "11", "T", "a", "", "🂡"])
def test_an_unknown_rank_is_named(rank):
    with pytest.raises(InputError, match=r"unknown rank .*allowed: A 2 3 4 5 6 7 8 9 10 J Q K"):
        Deal(("A", "2", "3", rank), RULES["id"])


@pytest.mark.parametrize("target", [0, -24, 10_000, "24", 24.0, None])
def test_a_target_is_a_positive_whole_number(target):
    with pytest.raises(InputError, match="target is a whole number"):
        Deal(("A", "2", "3", "4"), RULES["id"], target)
