import random
from collections import Counter

import pytest

from points24.tasks.cards import RULES, Deal, all_hands
from points24.tasks.solver import solutions
from points24.tasks.verdict import FILTERS, Verdict, judge, judge_reply
from tests.conftest import read_cases
from tests.tasks import oracle

RANK = {1: "A", 11: "J", 12: "Q", 13: "K"}
# Conventions of the flexible extraction; every other adversarial answer keeps its truth.
TRUE_WHEN_FLEXIBLE = {"C:latex", "C:bracket", "C:eqleft", "C:unicode"}


def deal(cards: str, rule: str = "ood") -> Deal:
    return Deal(tuple(cards.split()), RULES[rule])


@pytest.mark.parametrize("case", read_cases("answers.jsonl"), ids=lambda c: f"{c['cls']} {c['answer']}")
def test_adversarial_answers_get_their_truth(case):
    dealt = Deal(tuple(RANK.get(n, str(n)) for n in case["hand"]), RULES["ood"])
    truth = {
        extraction: case["truth"] or (extraction == "flexible-extract" and case["cls"] in TRUE_WHEN_FLEXIBLE)
        for extraction in FILTERS
    }
    assert (judge(dealt, case["answer"]).verdict is Verdict.CORRECT) is truth["strict-match"]
    assert (judge_reply(dealt, case["answer"], "flexible-extract").verdict is Verdict.CORRECT) is truth[
        "flexible-extract"
    ]


@pytest.mark.parametrize(
    ("formula", "verdict", "reason"),
    [
        ("13+5*2+1", "correct", "equals 24"),
        ("13+5*2-1", "wrong_value", "equals 22, not 24"),
        ("13/5+2+1", "wrong_value", "equals 28/5, not 24"),
        ("13/(1+1*0)", "wrong_numbers", "uses 0 1 1 13; the cards count as 1 2 5 13"),
        ("(10+5-2-1)*2", "wrong_numbers", "uses 1 2 2 5 10; the cards count as 1 2 5 13"),
        ("13+5+2", "wrong_numbers", "uses 2 5 13; the cards count as 1 2 5 13"),
        ("13+11", "wrong_numbers", "uses 11 13; the cards count as 1 2 5 13"),
        ("(13+5*2+1", "illegal", "not a legal formula: expected ')', found 'the end'"),
        (None, "no_answer", "no formula found"),
    ],
)
def test_each_verdict_with_its_reason(formula, verdict, reason):
    judgement = judge(deal("K 5 A 2"), formula)
    assert (judgement.verdict.value, judgement.reason) == (verdict, reason)


def test_division_by_zero_is_a_wrong_value():
    judgement = judge(deal("2 2 3 4"), "3*4/(2-2)")
    assert (judgement.verdict, judgement.reason) == (Verdict.WRONG_VALUE, "divides by zero")


def test_the_memorised_rule_is_recognised():
    judgement = judge(deal("K 4 4 J"), solutions((10, 4, 4, 10), 24)[0])
    assert judgement.verdict is Verdict.WRONG_RULE
    assert judgement.reason == "right under rule id, not ood"


def test_the_memorised_rule_must_reach_the_target_to_be_recognised():
    assert judge(deal("K 4 4 J"), "10+4+4+10").verdict is Verdict.WRONG_NUMBERS


def test_the_other_rule_is_recognised_in_distribution_too():
    assert judge(deal("K 5 A 2", "id"), "13+5*2+1").verdict is Verdict.WRONG_RULE


def test_without_face_cards_no_rule_can_be_wrong():
    verdicts = {
        judge(deal("2 3 4 5", rule), formula).verdict for rule in RULES for formula in ("2+3+4+5", "2+3")
    }
    assert Verdict.WRONG_RULE not in verdicts


def test_card_letters_count_under_the_deals_own_rule():
    assert judge(deal("K 5 A 2"), "K+5*2+A", "flexible-extract").verdict is Verdict.CORRECT
    assert judge(deal("K 5 A 2"), "K-5*2+A", "flexible-extract").verdict is Verdict.WRONG_VALUE


def test_the_memorised_rule_is_recognised_in_card_letters():
    assert judge(deal("K K 2 2"), "K+K+2+2", "flexible-extract").verdict is Verdict.WRONG_RULE
    assert judge(deal("K 5 A 2", "id"), "K+5*2+A", "flexible-extract").verdict is Verdict.WRONG_RULE


def random_answer(rng: random.Random, dealt: Deal) -> str:
    """A formula that is right under either rule, nearly right, legal but random, or a soup of signs."""
    kind = rng.random()
    values = dealt.under(RULES[rng.choice(("id", "ood"))]).values
    formulas = solutions(values, 24)
    if kind < 0.5 and formulas:
        text = rng.choice(formulas)
    elif kind < 0.8:
        text = random_expression(rng, list(values))
    else:
        return "".join(rng.choices("0123456789+-*/() \t\n.=^!x", k=rng.randint(0, 24)))
    for _ in range(rng.choice((0, 0, 1, 2))):
        place = rng.randint(0, len(text))
        text = text[:place] + rng.choice(["", *"0123456789+-*/() ="]) + text[place + rng.randint(0, 1) :]
    return text


def random_expression(rng: random.Random, values: list[int]) -> str:
    rng.shuffle(values)
    if len(values) == 1:
        return str(values[0])
    cut = rng.randint(1, len(values) - 1)
    left, right = random_expression(rng, values[:cut]), random_expression(rng, values[cut:])
    joined = f"{left}{rng.choice('+-*/')}{right}"
    return joined if rng.random() < 0.3 else f"({joined})"


def disagreements_with_the_oracle(n: int, seed: int) -> tuple[list[tuple], Counter]:
    rng = random.Random(seed)
    hands = all_hands()
    wrong, verdicts = [], Counter()
    for _ in range(n):
        dealt = Deal(rng.choice(hands), RULES[rng.choice(("id", "ood"))])
        answer = random_answer(rng, dealt)
        verdict = judge(dealt, answer).verdict
        verdicts[verdict.value] += 1
        try:
            numbers, value = oracle.numbers_and_value(answer)
        except oracle.IllegalError:
            agrees = verdict is Verdict.ILLEGAL
        else:
            fits = {
                name for name, rule in RULES.items() if sorted(numbers) == sorted(dealt.under(rule).values)
            }
            if dealt.rule.name in fits:
                expected = Verdict.CORRECT if value == 24 else Verdict.WRONG_VALUE
            else:
                expected = Verdict.WRONG_RULE if fits and value == 24 else Verdict.WRONG_NUMBERS
            agrees = verdict is expected
        if not agrees:
            wrong.append((dealt, answer, verdict))
    return wrong, verdicts


def test_random_answers_are_judged_as_by_the_oracle():
    wrong, verdicts = disagreements_with_the_oracle(20_000, seed=1)
    assert not wrong
    assert min(verdicts[v.value] for v in Verdict if v is not Verdict.NO_ANSWER) > 20, verdicts


@pytest.mark.slow
def test_a_million_random_answers_are_judged_as_by_the_oracle():
    wrong, verdicts = disagreements_with_the_oracle(1_000_000, seed=2)
    print(dict(verdicts))
    assert not wrong
