import copy

import pytest

from points24.harness.shift.references import (
    asked,
    prompt_text,
    right_reply,
    rival_reply,
    single_tasks,
    tokens,
)
from points24.tasks.cards import RULES, Deal, parse_rule
from points24.tasks.errors import InputError
from points24.tasks.prompts import template
from points24.tasks.verdict import Verdict, judge_reply
from tests.harness.shift.models import TOKENIZER

KING = Deal(("K", "5", "A", "2"), RULES["ood"])


def of_task(task: str, memorised: str = "id", chat: bool = False):
    return asked(task, wording=template(), chat=chat, limit=None, memorised=parse_rule(memorised))


def test_the_two_replies_are_right_under_their_own_rule_alone():
    right, rival = right_reply(KING), rival_reply(KING, RULES["id"])
    assert right is not None
    assert rival is not None
    assert judge_reply(KING, right).verdict is Verdict.CORRECT
    assert judge_reply(KING, rival).verdict is Verdict.WRONG_RULE
    assert '"number": [13, 5, 1, 2]' in right
    assert '"number": [10, 5, 1, 2]' in rival


def test_a_hand_without_face_or_without_solution_has_no_rival():
    assert rival_reply(Deal(("3", "3", "8", "8"), RULES["ood"]), RULES["id"]) is None
    assert rival_reply(Deal(("J", "J", "J", "J"), RULES["ood"]), RULES["id"]) is None  # 10 10 10 10


def test_a_task_is_weighed_against_the_memorised_rule_or_else_ood():
    assert of_task("points24_ood").rival == RULES["id"]
    assert of_task("points24_id").rival == RULES["ood"]
    assert of_task("points24_ood", "J=5,Q=7,K=9").rival == parse_rule("J=5,Q=7,K=9")


@pytest.mark.parametrize("task", ["points24_odd", "points24_all"])
def test_a_task_that_has_no_deals_of_its_own_is_refused(task):
    with pytest.raises(InputError, match=f"unknown task '{task}'; allowed: points24_face_id, "):
        of_task(task)
    assert "points24_ood" in single_tasks()


@pytest.mark.parametrize("task", ["points24_contradiction", "points24_five_cards"])
def test_a_task_with_a_prompt_of_its_own_is_refused(task):
    with pytest.raises(InputError, match=f"tasks: {task} has a prompt of its own; allowed: points24_face_id"):
        of_task(task)


def test_a_world_is_asked_under_its_own_rule_and_target():
    assert of_task("points24_rule_5_7_12").hands.rule == parse_rule("J=5,Q=7,K=12")
    assert {deal.target for deal in of_task("points24_target_36").deals} == {36}


def test_a_task_without_cards_has_no_rule_to_be_memorised():
    with pytest.raises(
        InputError, match="tasks: points24_tot has no cards, and so no rule that was memorised"
    ):
        of_task("points24_tot")


def pieces(found, places):
    return [TOKENIZER.decode([found.ids[place]]) for place in places]


def test_tokens_of_the_numbers_and_of_the_formula():
    reply = '{"cards": ["K", "5", "A", "2"], "number": [13, 5, 1, 2], "formula": "13+5*2+1"}'
    prompt = template().render(KING)
    found = tokens(KING, prompt, reply, TOKENIZER)
    assert found.name == "deal K 5 A 2"
    assert TOKENIZER.decode(found.ids[found.start :]) == reply
    assert list(found.ids[: found.start]) == TOKENIZER(prompt)["input_ids"]
    assert pieces(found, found.numbers) == ["13", "5", "1", "2"]
    assert pieces(found, found.formula) == ["13", "+", "5", "*", "2", "+", "1"]


class Characters:
    """A tokenizer whose tokens are pairs of characters, with special tokens around the text."""

    is_fast, bos_token = True, "<"

    def __call__(self, text, return_offsets_mapping=True, add_special_tokens=True):
        spans = [(i, min(i + 2, len(text))) for i in range(0, len(text), 2)]
        ids = [ord(text[a]) for a, _ in spans]
        if add_special_tokens:
            spans, ids = [(0, 0), *spans, (0, 0)], [1, *ids, 2]
        return {"input_ids": ids, "offset_mapping": spans}


def test_a_token_across_the_border_belongs_to_the_reply_and_special_tokens_do_not():
    found = tokens(KING, "abc", '{"number": [12]}', Characters())
    assert found.start == 2  # after the begin-of-text token and "ab"; "c{" is predicted
    assert len(found.ids) == 1 + 10  # no end-of-text token
    assert found.numbers == (8, 9)  # of abc{"number": [12]}, the pairs "[1" and "2]"
    already = tokens(KING, "<bc", '{"number": [12]}', Characters())
    assert already.start == 1  # no second begin-of-text token


def test_a_tokenizer_without_offsets_is_refused():
    slow = Characters()
    slow.is_fast = False
    with pytest.raises(InputError, match="no character offsets"):
        tokens(KING, "abc", "{}", slow)


def test_the_prompt_in_a_chat_template_is_one_user_message():
    tokenizer = copy.deepcopy(TOKENIZER)
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<reply>"
    text = prompt_text(KING, of_task("points24_ood", chat=True), tokenizer)
    assert text == f"<user>{template().render(KING)}<reply>"
