import pytest
from hypothesis import given
from hypothesis import strategies as st

from points24.tasks.cards import RULES, Deal
from points24.tasks.replies import extract_flexible, extract_strict, is_truncated, without_thinking
from points24.tasks.verdict import FILTERS, Verdict, judge_reply
from tests.conftest import read_cases

DEAL = Deal(("K", "5", "A", "2"), RULES["ood"])  # 13 5 1 2, for which 13+5*2+1 = 24


@pytest.mark.parametrize("case", read_cases("replies.jsonl"), ids=lambda case: case["about"])
def test_replies_get_their_verdict(case):
    found = {extraction: judge_reply(DEAL, case["reply"], extraction).verdict.value for extraction in FILTERS}
    assert found == {"strict-match": case["strict-match"], "flexible-extract": case["flexible-extract"]}


@pytest.mark.parametrize("case", read_cases("reply_styles.jsonl"), ids=lambda case: case["about"])
def test_replies_in_the_styles_of_chat_models_get_the_verdict_of_a_careful_reader(case):
    """`judged` is where we differ from the reader; never by accepting what he refuses."""
    dealt = Deal(tuple(case.get("cards", DEAL.cards)), RULES["ood"])
    verdict = judge_reply(dealt, case["reply"], "flexible-extract").verdict.value
    assert verdict == case.get("judged", case["flexible-extract"])
    assert verdict != "correct" or case["flexible-extract"] == "correct"


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("plain", "plain"),
        ("a<think>b</think>c", "ac"),
        ("b</think>c", "c"),
        ("a<think>b", "a"),
        ("<think>b<think>b</think>b</think>c", "c"),
        ("a<think>b</think>c<think>d</think>e", "ace"),
        ("a<think>b</think>c</think>d", "d"),
        ("<think></think>", ""),
        ("<Think>a</Think>", "<Think>a</Think>"),
    ],
)
def test_thinking_is_left_out(reply, answer):
    assert without_thinking(reply) == answer


@pytest.mark.parametrize(
    ("reply", "truncated"),
    [
        ("", False),
        ('{"cards": [], "number": [], "formula": "1+2"}', False),
        ('{"cards": ["K", "5"', True),
        ("<think>13+5", True),
        ("<think>13+5</think>24", False),
        ("</think>24", False),
        ("```json\n{}", True),
        ("```json\n{}\n```", False),
        ("\\boxed{\\frac{8}{3", True),
        ("<think>{</think>done", False),
    ],
)
def test_a_reply_that_ends_inside_what_it_opened_is_truncated(reply, truncated):
    assert is_truncated(reply) is truncated


@pytest.mark.parametrize("reply", [None, 24, 2.4, True, ["13+5*2+1"], {"formula": "13+5*2+1"}, b"13+5*2+1"])
@pytest.mark.parametrize("extraction", FILTERS)
def test_what_is_not_text_is_no_answer(reply, extraction):
    assert judge_reply(DEAL, reply, extraction).verdict is Verdict.NO_ANSWER


@pytest.mark.parametrize("extraction", FILTERS)
@given(raw=st.binary(max_size=300))
def test_arbitrary_bytes_get_a_verdict(extraction, raw):
    for text in (raw.decode("latin-1"), raw.decode("utf-8", "surrogateescape")):
        assert judge_reply(DEAL, text, extraction).verdict in Verdict
        is_truncated(text)


PIECES = st.sampled_from(
    [*"0123456789AJQK+-*/()[]{}=×÷−·^!%.,:;#$`'\"\\ \n\t", "<think>", "</think>", '"formula": "', "\\boxed{",
     "\\frac{", "**", "```", "\ud800", "\x00", "formula", "13+5*2+1", "24"]
)  # fmt: skip


@pytest.mark.parametrize("extraction", FILTERS)
@given(pieces=st.lists(PIECES, max_size=40))
def test_hostile_mixtures_get_a_verdict(extraction, pieces):
    text = "".join(pieces)
    assert judge_reply(DEAL, text, extraction).verdict in Verdict
    assert (
        judge_reply(DEAL, '{"cards": [], "number": [], "formula": "' + text + '"}', extraction).verdict
        in Verdict
    )


@given(formula=st.text(alphabet="0123456789+-*/() ", max_size=40))
def test_both_extractions_agree_on_a_well_formed_reply(formula):
    reply = '{"cards": ["K", "5", "A", "2"], "number": [13, 5, 1, 2], "formula": "' + formula + '"}'
    strict, flexible = extract_strict(reply), extract_flexible(reply)
    assert (strict or "").strip() == (flexible or "")


def test_very_long_replies_are_read_from_their_end():
    assert judge_reply(DEAL, "x " * 5_000_000 + "\n13+5*2+1", "flexible-extract").verdict is Verdict.CORRECT
    assert judge_reply(DEAL, "x " * 5_000_000 + "\n13+5*2+1", "strict-match").verdict is Verdict.NO_ANSWER
