"""Right formulas in every notation and context that we could think of, and the same with something illegal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from points24.tasks.cards import RULES, Deal
from points24.tasks.expressions import _NOT_AFTER, _NOT_BEFORE, _WORD, _WORD_AT_END
from points24.tasks.verdict import Verdict, judge_reply

DEAL = Deal(("K", "5", "A", "2"), RULES["ood"])  # 13 5 1 2

NOTATIONS = [
    "13+5*2+1", "13 + 5 * 2 + 1", "13 + 5 × 2 + 1", "13 + 5·2 + 1", "13 + 5⋅2 + 1", "13 + 5 ∗ 2 + 1",
    "13 + 5 x 2 + 1", "13 + 5 X 2 + 1", "13 + 5 \\* 2 + 1", "13 + 5 &times; 2 + 1", "13 + 5 \\times 2 + 1",
    "13 + 5 \\cdot 2 + 1", "13 \\,+\\, 5 \\,\\times\\, 2 + 1", "\\left(13 + 5 \\times 2\\right) + 1",
    "(13 + 5 * 2) + 1", "[13 + (5 * 2)] + 1", "K + 5 * 2 + A", "K(13) + 5 * 2 + A(1)", "13 (K) + 5 × 2 + 1 (A)",
    "13\u00a0+\u00a05\u00a0×\u00a02\u00a0+\u00a01", "\\text{13 + 5 * 2 + 1}", "\\mathbf{13} + 5 \\times 2 + 1", "13 plus 5 times 2 plus 1",
]  # fmt: skip
RESULTS = [
    "",
    " = 24",
    "=24",
    " = **24**",
    " = 24 ✅",
    " = 24!",
    " = \\boxed{24}",
    " → 24",
    " = 24.0",
    " (= 24)",
]
CONTEXTS = [
    "{}", "{}.", "Answer: {}", "**Answer:** {}", "The answer is {}.", "So we get {}, as asked.", "One way:\n- {}", "1. {}",
    "> {}", "## {}", "```\n{}\n```", "**Final answer**\n\n{}", "{}</s>", "{}<|im_end|>", "{} [/INST]",
    "<answer>{}</answer>", "<think>13+5+2+1 = 21</think>{}", "Cards: 13, 5, 1, 2.\n\n{}\n\nAll cards are used.",
    "5 * 2 = 10, 13 + 10 = 23, 23 + 1 = 24, hence\n{}", "{}\n\nCheck: 10 + 13 + 1 = 24",
    "First 13 + 5 + 2 + 1 = 21, too small.\n\nThen {}", "| step | formula |\n|---|---|\n| 1 | {} |",
    "最终答案：{}", "{} (cards used: 4/4)", "$ {} $", "\\[ {} \\]", "x = {}", "<p>{}</p>",
]  # fmt: skip


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_right_formula_is_found_in_every_notation(context):
    refused = [
        reply
        for notation in NOTATIONS
        for result in RESULTS
        if judge_reply(DEAL, reply := context.format(notation + result), "flexible-extract").verdict
        is not Verdict.CORRECT
    ]
    assert not refused


SPOILT = [
    "7*{}", "7⋅{}", "7 × {}", "7/{}", "{}*7", "{} * 7", "{}/7", "n*{}", "n * {}", "n + {}", "{}-n", "{} * n", "√{}",
    "√({})", "sqrt({})", "sqrt{}", "-{}", "-({})", "({})²", "({})^2", "({})**2", "({}) ** 2", "{} ≠ 24", "{} = 25",
    "{} → 25", "{} ≈ 25", "{} < 24", "{} = 99*7 = 24", "{} = 7*\n24", "7*\n{}", "{}\n= 25", "({})!",
    "({})%7", "({})<sup>2</sup>", "½*{}", "2½*{}", "{}½", "1.5*{}", "{}.5", ".5*{}", "x{}", "{}x", "|{}|", "~{}",
    "7 ({})", "({}) 7", "({})({})", "{}+", "+{}", "{} & 7", "{} | 7", "{} mod 7", "log2({})", "abs({})", "\\sqrt{{{}}}",
    "\\frac{{{}}}{{7}}", "{} \\neq 24", "{} \\approx 25", "{}^{{2}}", "4!*{}", "{} // 1", "{} ^ 1", "7**{}", "7 **{}",
    "{} is wrong", "{} does not work", "{}? No.", "not {}", "~~{}~~", "{} = 24 is not correct", "<think>{}",
    "<thinking>{}</thinking>", "[THINK]{}" ,
]  # fmt: skip


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize("formula", ["13+5*2+1", "(13+5*2+1)", "K + 5 × 2 + A"])
@pytest.mark.parametrize(
    "context", ["{}", "It is {} then", "Answer: {}", "**{}**", "- {}\n- 5*2", "`{}`", "答案是 {}"]
)
def test_nothing_legal_is_cut_out_of_something_illegal(spoilt, formula, context):
    reply = context.format(spoilt.replace("{}", formula).replace("{{", "{").replace("}}", "}"))
    assert judge_reply(DEAL, reply, "flexible-extract").verdict is not Verdict.CORRECT


DENIALS = ["not", "instead of", "rather than", "wrong:", "is incorrect", "~~", "Not", "so", "2,", ""]


@given(st.sampled_from(DENIALS), st.text(" \t\n`*$\"'(", max_size=7), st.text(max_size=4))
def test_a_quick_look_beside_an_expression_misses_no_denial(word, between, other):
    for text in (word + between, other + word + between, between + word + other):
        assert not _NOT_BEFORE.search(text) or _WORD_AT_END.search(text)
        assert not _NOT_AFTER.match(text) or _WORD.search(text)
