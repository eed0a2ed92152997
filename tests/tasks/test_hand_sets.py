import json
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import sqrt

import pytest

from points24.tasks.cards import NUMBERS, RANKS, RULES, Deal, Rule, hand_of, has_face
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import HAND_SETS, hand_set, held_out_numbers, is_held_out
from points24.tasks.solver import solvable
from tests.conftest import CASES
from tests.tasks.oracle import is_correct

DIGESTS = {
    "id": "b6bba38dde30",
    "ood": "fc13d72440f2",
    "face_id": "1b588bf39c06",
    "plain_ood": "deed20d63886",
    "id_seen": "dcd11afc087b",
    "id_heldout": "37ea7310259e",
    "ood_heldout": "2dd43becfaf6",
    "id_paper": "321934e7deb2",
    "ood_paper": "f93d6fb0b36e",
    "tot": "53123c6ac52f",
    "tot_hard": "5be39823bc66",
    "countdown": "73b3ab20c94a",
    "id_dev": "71abccc7b104",
    "ood_dev": "5feda8f706d3",
    "contradiction": "6560c3c581f7",
    "five_cards": "5ab69ede46d7",
}


@pytest.mark.parametrize("name", HAND_SETS)
def test_digests_are_pinned(name):
    """A change here changes what every earlier result was measured on: raise `hand_sets.VERSION`."""
    assert hand_set(name).digest.startswith(DIGESTS[name])


def test_counts_agree_with_exhaustive_search(known_counts):
    assert len(hand_set("id")) == known_counts["hands_solvable_rule_10 (id)"]
    assert len(hand_set("ood")) == known_counts["face_hands_solvable_rule_11_12_13 (ood)"]
    assert len(hand_set("face_id")) == known_counts["face_hands_solvable_rule_10"]
    assert len(hand_set("plain_ood")) == known_counts["solvable_number_hands_1_to_10*"]
    both = {hand_of(d.cards) for d in hand_set("face_id").deals} & {
        hand_of(d.cards) for d in hand_set("ood").deals
    }
    assert len(both) == known_counts["face_hands_solvable_under_both_rules"]


@pytest.mark.parametrize("rule", ["id", "ood"])
def test_the_papers_deals_are_replayed_in_order(rule):
    paper = json.loads((CASES / "paper_deals.json").read_text("utf-8"))
    assert [list(deal.cards) for deal in hand_set(f"{rule}_paper").deals] == paper[rule]["deals"]
    distinct = {hand_of(deal.cards) for deal in hand_set(f"{rule}_paper").deals}
    assert len(distinct) == paper["distinct_hands"]["id_by_rank" if rule == "id" else "ood"]


@pytest.mark.parametrize("name", HAND_SETS)
def test_every_deal_is_solvable(name):
    assert all(solvable(deal.values, deal.target) for deal in hand_set(name).deals)


@pytest.mark.parametrize("name", [n for n in HAND_SETS if not n.endswith("_paper")])
def test_no_hand_comes_twice(name):
    hands = [hand_of(deal.cards) for deal in hand_set(name).deals]
    assert len(set(hands)) == len(hands)


def test_ood_hands_hold_a_face_card():
    assert all(has_face(deal.cards) for deal in hand_set("ood").deals)


def test_a_hand_is_shown_in_the_same_order_under_both_rules():
    shown = {hand_of(deal.cards): deal.cards for deal in hand_set("id").deals}
    common = [deal for deal in hand_set("ood").deals if hand_of(deal.cards) in shown]
    assert common
    assert all(shown[hand_of(deal.cards)] == deal.cards for deal in common)


def test_the_cards_are_really_shuffled():
    first = Counter(deal.cards[0] for deal in hand_set("id").deals)
    assert max(first.values()) < 3 * min(first.values())


@pytest.mark.parametrize("n", [50, 200, 400])
def test_the_first_deals_are_a_fair_sample(n):
    """As many held-out hands and face cards among the first n as chance allows (4 standard errors)."""
    deals = hand_set("id").deals
    for trait in (lambda deal: is_held_out(hand_of(deal.cards)), lambda deal: has_face(deal.cards)):
        share = sum(map(trait, deals)) / len(deals)
        assert abs(sum(map(trait, deals[:n])) - n * share) < 4 * sqrt(n * share * (1 - share))


def test_seen_and_held_out_split_the_id_hands_by_their_numbers():
    seen, held_out = hand_set("id_seen").deals, hand_set("id_heldout").deals
    assert {d.cards for d in seen} | {d.cards for d in held_out} == {d.cards for d in hand_set("id").deals}
    numbers = [{tuple(sorted(deal.values)) for deal in deals} for deals in (seen, held_out)]
    assert not numbers[0] & numbers[1]
    assert numbers[1] == held_out_numbers()
    assert len(held_out_numbers()) == round(0.2 * 566)
    assert is_held_out(hand_of(held_out[0].cards))


def test_weights_count_the_draws_of_the_papers_sampler():
    """Against brute force over every ordered draw."""
    uniform = Counter(hand_of(cards) for cards in product(RANKS, repeat=4))
    one_face = Counter(hand_of((*cards, face)) for cards in product(RANKS, repeat=3) for face in "JQK")
    for name, draws in {"id": uniform, "ood": one_face, "plain_ood": uniform, "face_id": one_face}.items():
        hands = hand_set(name)
        assert list(hands.weights) == [draws[hand_of(deal.cards)] for deal in hands.deals]


def test_another_rule_or_target_keeps_what_it_can_solve():
    rule = Rule(5, 7, 9)
    hands = hand_set("ood", rule, 36)
    assert {deal.rule for deal in hands.deals} == {rule}
    assert all(has_face(deal.cards) and solvable(deal.values, 36) for deal in hands.deals)
    assert hands.digest != hand_set("ood").digest


def test_a_weighted_mean_over_ood_is_the_papers_expectation():
    """The weights, normalised, are the probabilities of the solvable hands under the paper's sampler."""
    hands = hand_set("ood")
    solvable_draws = sum(
        solvable(Deal((*cards, face), RULES["ood"]).values, 24)
        for cards in product(RANKS, repeat=3)
        for face in "JQK"
    )
    assert sum(hands.weights) == solvable_draws
    assert Fraction(sum(hands.weights), solvable_draws) == 1


def test_the_game_of_24_has_the_numbers_of_ood_and_plain_ood():
    puzzles = [deal.values for deal in hand_set("tot").deals]
    dealt = {tuple(sorted(deal.values)) for name in ("ood", "plain_ood") for deal in hand_set(name).deals}
    assert len(puzzles) == len(set(puzzles)) == 1362
    assert set(puzzles) == dealt
    assert all(list(numbers) == sorted(numbers) for numbers in puzzles)


def test_the_hard_puzzles_are_those_ranked_901_to_1000():
    """The first and the last three, as the published list has them."""
    puzzles = [deal.values for deal in hand_set("tot_hard").deals]
    assert len(set(puzzles)) == 100
    assert puzzles[:3] == [(4, 5, 6, 10), (1, 2, 4, 7), (2, 5, 8, 11)]
    assert puzzles[-3:] == [(2, 4, 9, 12), (4, 8, 11, 13), (4, 9, 10, 13)]
    assert set(puzzles) <= {deal.values for deal in hand_set("tot").deals}


def test_countdown_has_each_size_equally_often_and_a_target_for_each_deal():
    hands = hand_set("countdown")
    assert hands.target is None
    assert [len(deal.cards) for deal in hands.deals[:8]] == [3, 4, 5, 6] * 2
    assert set(Counter(len(deal.cards) for deal in hands.deals).values()) == {250}
    assert all(1 <= number <= 99 for deal in hands.deals for number in deal.values)
    targets = {deal.target for deal in hands.deals}
    assert min(targets) >= 10
    assert max(targets) <= 100
    assert len(targets) > 80


def test_every_example_of_countdown_is_correct():
    hands = hand_set("countdown")
    assert len(hands.examples) == len(hands)
    for place, deal in enumerate(hands.deals):
        assert is_correct(hands.example(place), deal.values, deal.target)


def test_the_digest_covers_the_target_of_each_deal():
    hands = hand_set("countdown")
    first, *others = hands.deals
    other = replace(hands, deals=(Deal(first.cards, first.rule, first.target + 1), *others))
    assert other.digest != hands.digest


@pytest.mark.parametrize(
    ("name", "rule", "target", "message"),
    [
        ("odd", None, 24, r"unknown hand set 'odd'; allowed: id, ood, .*ood_paper"),
        ("ood_paper", Rule(5, 7, 9), 24, "its rule and target are fixed"),
        ("id_paper", None, 25, "its rule and target are fixed"),
        ("countdown", None, 24, "its rule and target are fixed"),
        ("tot", RULES["ood"], None, "hand set 'tot': expected rule numbers, found ood"),
        ("ood", NUMBERS, None, "hand set 'ood': expected a rule for cards, found numbers"),
        ("id", None, 9999, "no hand reaches 9999"),
    ],
)
def test_what_cannot_be_built_is_refused(name, rule, target, message):
    with pytest.raises(InputError, match=message):
        hand_set(name, rule, target)
