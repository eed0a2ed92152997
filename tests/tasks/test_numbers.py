"""Deals of plain numbers: the Game of 24 and Countdown, from prompt to verdict."""

import json
import re

import pytest

from points24.tasks.cards import NUMBERS, RULES, Deal
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import hand_set
from points24.tasks.lm_eval.files import task_hands, task_protocol
from points24.tasks.prompts import Template, json_reply
from points24.tasks.protocols.protocol import read_protocol, usual_protocol
from points24.tasks.rewards import rows
from points24.tasks.rewards.reward import deal_in, deal_of, label_of
from points24.tasks.verdict import FILTERS, Verdict, judge, judge_reply
from tests.tasks.test_lm_eval import Player, evaluate

DEAL = Deal(("25", "3", "7"), NUMBERS, 82)
PROMPT = re.compile(r"equals (\d+)\..*Numbers: ([^\n]*)\nReply:$", re.DOTALL)


def test_the_prompt_speaks_of_numbers_and_states_the_target():
    prompt = usual_protocol(NUMBERS).prompt.render(DEAL)
    assert "equals 82" in prompt
    assert "Numbers: 25, 3, 7\n" in prompt
    assert "card" not in prompt
    assert "24" not in prompt


def test_the_reply_that_is_asked_for_is_correct_and_one_for_cards_is_not():
    assert json.loads(json_reply(DEAL, "3*25+7")) == {"numbers": [25, 3, 7], "formula": "3*25+7"}
    assert judge_reply(DEAL, json_reply(DEAL, "3*25+7")).verdict is Verdict.CORRECT
    reply = '{"cards": ["25", "3", "7"], "number": [25, 3, 7], "formula": "3*25+7"}'
    assert judge_reply(DEAL, reply, "strict-match").verdict is Verdict.NO_ANSWER
    assert judge_reply(DEAL, reply, "flexible-extract").verdict is Verdict.CORRECT


@pytest.mark.parametrize(
    ("formula", "verdict", "reason"),
    [
        ("3*25+7", "correct", "equals 82"),
        ("25*3-7", "wrong_value", "equals 68, not 82"),
        ("25*3+7+1", "wrong_numbers", "uses 1 3 7 25; the numbers are 3 7 25"),
        ("82", "wrong_numbers", "uses 82; the numbers are 3 7 25"),
        ("25/(7-7)*3", "wrong_numbers", "uses 3 7 7 25; the numbers are 3 7 25"),
    ],
)
@pytest.mark.parametrize("extraction", FILTERS)
def test_formulas_are_judged_by_the_same_checker(formula, verdict, reason, extraction):
    found = judge(DEAL, formula, extraction)
    assert (found.verdict.value, found.reason) == (verdict, reason)


def test_a_number_is_never_the_value_of_a_card():
    """No other rule can be followed, and a letter is no number."""
    deal = Deal(("10", "5", "1", "2"), NUMBERS)
    assert judge(deal, "13+5*2+1").verdict is Verdict.WRONG_NUMBERS
    assert judge(deal, "K+5*2+A", "flexible-extract").verdict is Verdict.ILLEGAL


@pytest.mark.parametrize("size", [3, 5, 6])
def test_cards_can_be_dealt_in_other_sizes_as_well(size):
    deal = Deal(("K", "5", "A", "2", "Q", "J")[:size], RULES["ood"], 13 + sum((5, 1, 2, 12, 11)[: size - 1]))
    formula = "+".join(map(str, deal.values))
    for extraction in FILTERS:
        assert judge_reply(deal, json_reply(deal, formula), extraction).verdict is Verdict.CORRECT
    memorised = "+".join(map(str, deal.under(RULES["id"]).values))
    other = Deal(deal.cards, RULES["ood"], sum(deal.under(RULES["id"]).values))
    assert judge(other, memorised).verdict is Verdict.WRONG_RULE


def by_prompt(prompt: str) -> str:
    """The example of the deal that a prompt asks about."""
    found = PROMPT.search(prompt.rpartition("\n\n")[2])
    assert found, prompt
    target, numbers = int(found[1]), tuple(found[2].split(", "))
    for name in ("tot_hard", "countdown"):
        hands = hand_set(name)
        for place, deal in enumerate(hands.deals):
            if (deal.cards, deal.target) == (numbers, target):
                return json_reply(deal, hands.example(place))
    raise AssertionError(prompt)


@pytest.mark.parametrize(("task", "target"), [("points24_tot_hard", 24), ("points24_countdown", None)])
def test_a_solver_wins_the_tasks_and_their_results_say_what_was_asked(task, target):
    lm = Player(by_prompt)
    results = evaluate(lm, [task], limit=12)
    for name in FILTERS:
        assert results["results"][task][f"acc,{name}"] == 1
    metadata = results["configs"][task]["metadata"]
    hands = hand_set(task.removeprefix("points24_"))
    assert (metadata["rule"], metadata["target"], metadata["protocol"]) == ("numbers", target, "numbers")
    assert metadata["hand_set_digest"] == hands.digest
    assert metadata["protocol_digest"] == read_protocol(task_protocol(task)).digest


def test_the_game_of_24_is_a_task_with_the_protocol_for_numbers():
    assert (task_hands("points24_tot").name, task_protocol("points24_tot")) == ("tot", "numbers")


def test_few_shot_examples_of_countdown_are_right():
    lm = Player(by_prompt)
    evaluate(lm, ["points24_countdown"], limit=4, num_fewshot=2)
    for prompt in lm.prompts:
        *shots, _ = prompt.split("\n\n")
        assert len(shots) == 2
        for shot in shots:
            example, reply = shot.split("\nReply: ")
            assert by_prompt(example + "\nReply:") == reply


@pytest.mark.parametrize("form", rows.FORMATS)
def test_trainers_rows_ask_about_numbers(form):
    hands = hand_set("countdown")
    row = rows.FORMATS[form](hands, 3)
    assert PROMPT.search(row["prompt"][0]["content"])


def test_a_label_or_columns_give_the_deal_back():
    assert deal_in(label_of(DEAL)) == DEAL
    assert deal_of([25, 3, 7], "numbers", 82) == DEAL


def test_rows_hold_one_solution_where_listing_all_takes_long():
    row = rows.plain(hand_set("countdown"), 3)
    assert "solutions" not in row
    deal = deal_of(row["cards"], row["rule"], row["target"])
    assert judge(deal, row["solution"]).verdict is Verdict.CORRECT


@pytest.mark.parametrize(
    ("task", "metadata", "message"),
    [
        ("points24_tot", {"rule": "ood"}, "hand set 'tot': expected rule numbers, found ood"),
        ("points24_tot", {"protocol": "points24"}, "asks about cards; the deals are of numbers"),
        ("points24_ood", {"protocol": "numbers"}, "asks about numbers; the deals are of cards"),
        ("points24_countdown", {"target": 24}, "hand set 'countdown': its rule and target are fixed"),
        ("points24_countdown", {"protocol": "paper"}, "asks about cards; the deals are of numbers"),
    ],
)
def test_what_does_not_fit_together_is_refused(task, metadata, message):
    with pytest.raises(InputError, match=message):
        evaluate(Player(by_prompt), [task], metadata, limit=1)


def test_a_template_of_numbers_needs_the_target():
    with pytest.raises(InputError, match="a template needs 'cards' and one of"):
        Template("{{ numbers }}")
    assert Template("{{ numbers }} {{ target }}").render(DEAL) == "[25, 3, 7] 82"


def test_the_papers_verifier_knows_four_cards_alone():
    deal = Deal(("K", "5", "A"), RULES["ood"], 19)
    with pytest.raises(InputError, match="the paper's verifier: expected 4 cards, found 3"):
        read_protocol("paper").verify(deal, '"formula": "13+5-1"')
