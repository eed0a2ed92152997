"""Tasks in which something besides the face cards is new: a rule, the target, the number of cards."""

import re

import pytest

from points24.tasks.cards import RULES, Deal, Rule, hand_of, has_face
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import development_numbers, hand_set, held_out_numbers
from points24.tasks.prompts import json_reply, template
from points24.tasks.solver import one_solution
from tests.tasks.oracle import is_correct
from tests.tasks.test_lm_eval import Player, deal_in, evaluate, memoriser

WORLDS = {
    "points24_rule_5_7_12": 864,
    "points24_rule_14_17_19": 665,
    "points24_target_36": 1187,
    "points24_contradiction": 529,
    "points24_five_cards": 500,
}


def reader(prompt: str) -> str:
    """Plays by the rule and the target that the prompt states."""
    target = re.search(r"player of the (\d+) game", prompt)
    assert target
    deal = deal_in(prompt)
    return json_reply(deal, one_solution(deal.values, int(target[1])) or "")


def test_who_reads_the_prompt_wins_every_world_but_the_contradiction(known_counts):
    results = evaluate(Player(reader), ["points24_worlds"])
    assert {task: counts["effective"] for task, counts in results["n-samples"].items()} == WORLDS
    scores = {task: results["results"][task] for task in WORLDS}
    contradiction = scores.pop("points24_contradiction")
    assert {row["acc,strict-match"] for row in scores.values()} == {1.0}
    assert (contradiction["acc,strict-match"], contradiction["wrong_rule,strict-match"]) == (0, 1)
    assert WORLDS["points24_contradiction"] == known_counts["face_hands_solvable_under_both_rules"]


def test_who_has_memorised_the_id_rule_wins_the_contradiction_alone():
    results = evaluate(Player(memoriser), ["points24_contradiction", "points24_rule_14_17_19"])["results"]
    assert results["points24_contradiction"]["acc,strict-match"] == 1
    assert results["points24_rule_14_17_19"]["acc,strict-match"] == 0


def test_the_contradiction_states_the_ood_rule_and_is_judged_by_the_id_rule():
    hands = hand_set("contradiction")
    assert (hands.rule, hands.stated) == (RULES["id"], RULES["ood"])
    lm = Player(lambda _: "")
    evaluate(lm, ["points24_contradiction"], limit=5)
    assert {deal_in(prompt).rule for prompt in lm.prompts} == {RULES["ood"]}


def test_five_cards_are_asked_as_five_and_their_example_is_right():
    hands = hand_set("five_cards")
    assert len({hand_of(deal.cards) for deal in hands.deals}) == 500
    for place, deal in enumerate(hands.deals):
        assert is_correct(hands.example(place), deal.values, 24)
    assert "You are dealt five cards" in template("counted").render(hands.deals[0])


def test_the_counted_wording_is_the_built_in_one_for_four_cards():
    for deal in hand_set("ood").deals[:20]:
        assert template("counted").render(deal) == template().render(deal)


@pytest.mark.parametrize("cards", [("K", "5", "A"), ("K", "5", "A", "2", "3")])
def test_a_wording_for_four_cards_asks_no_other_number(cards):
    with pytest.raises(InputError, match=f"asks about 4 cards, found a deal of {len(cards)}; .*'counted'"):
        template().render(Deal(cards, RULES["id"]))


def test_the_digest_covers_the_rule_that_is_stated():
    hands = hand_set("contradiction")
    under = tuple(deal for deal in hand_set("face_id").deals if deal in set(hands.deals))
    assert under == hands.deals
    assert hands.digest != hand_set("face_id").digest


def test_the_numbers_that_training_is_chosen_by_are_apart_from_the_held_out_ones():
    chosen_by = development_numbers()
    assert len(chosen_by) == 57 + 80
    assert not chosen_by & held_out_numbers(faces=True)
    for name in ("id_dev", "ood_dev"):
        assert all(tuple(sorted(deal.values)) in chosen_by for deal in hand_set(name).deals)
    assert all(has_face(deal.cards) for deal in hand_set("ood_dev").deals)


@pytest.mark.parametrize(
    ("numbers", "target", "formula"),
    [
        ((8, 3, 8, 3), 24, "8/(3-8/3)"),
        ((1, 1, 1, 1), 24, None),
        ((1, 2, 3), 6, "1*2*3"),
        ((1, 2, 3), 7, "1+2*3"),
    ],
)
def test_one_solution_by_hand(numbers, target, formula):
    found = one_solution(numbers, target)
    assert (found is None) == (formula is None)
    assert found is None or (is_correct(found, numbers, target) and is_correct(formula, numbers, target))


def test_another_rule_in_the_metadata_replaces_the_worlds_own():
    lm = Player(lambda _: "")
    evaluate(lm, ["points24_five_cards"], {"rule": "J=5,Q=7,K=9"}, limit=2)
    assert {deal_in(prompt).rule for prompt in lm.prompts} == {Rule(5, 7, 9)}
