"""Every adapter pays what the checker says, and none can be talked into more."""

import asyncio
import subprocess
import sys
from functools import lru_cache
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

from points24.rewards import judged, load_environment, openrlhf_reward, trl_reward, using, verl_compute_score
from points24.tasks.cards import RULES, Deal
from points24.tasks.errors import InputError
from points24.tasks.prompts import json_reply, template
from points24.tasks.rewards.for_openrlhf import response_in
from points24.tasks.rewards.reward import columns_of, deal_in, deal_of, label_of
from points24.tasks.verdict import FILTERS
from tests.conftest import read_cases
from tests.tasks.test_verdict import TRUE_WHEN_FLEXIBLE

DEAL = Deal(("K", "5", "A", "2"), RULES["ood"])
RIGHT = json_reply(DEAL, "13+5*2+1")
RANK = {1: "A", 11: "J", 12: "Q", 13: "K"}


def by_trl(deal: Deal, reply: str, **settings) -> float | None:
    columns = {name: [value] for name, value in columns_of(deal).items()}
    (plain,) = trl_reward(["?"], [reply], **columns, **settings)
    messages = [[{"role": "assistant", "content": reply}]]
    assert trl_reward(["?"], messages, **columns, **settings) == [plain]
    return plain


def by_verl(deal: Deal, reply: str, **settings) -> float:
    found = verl_compute_score(
        data_source="points24", solution_str=reply, ground_truth=label_of(deal), extra_info={}, **settings
    )
    return found["score"]


def by_openrlhf(deal: Deal, reply: str, **settings) -> float:
    prompt = "<|im_start|>user\n" + template().render(deal) + "<|im_end|>\n<|im_start|>assistant\n"
    found = openrlhf_reward([prompt + reply + "<|im_end|>"], [prompt], [label_of(deal)], **settings)
    return found["rewards"].tolist()[0]


@lru_cache
def verifiers_reward(extraction: str) -> Any:
    """The reward in the rubric of verifiers' environment."""
    env = load_environment(num_examples=1, extraction=extraction)
    (reward, *_), (weight, *_) = env.rubric._get_reward_funcs(), env.rubric._get_reward_weights()
    assert weight == 1
    return reward


def by_verifiers(deal: Deal, reply: str, extraction: str = "flexible-extract") -> float:
    messages = [{"role": "assistant", "content": reply}]
    return verifiers_reward(extraction)(messages, label_of(deal), {})


def by_inspect(deal: Deal, reply: str, extraction: str = "flexible-extract") -> float:
    """Inspect pays no table; its scorer gives each verdict."""
    from inspect_ai.scorer import Target  # pyright: ignore[reportMissingImports]: optional

    from points24.tasks.rewards.for_inspect import verdict

    state: Any = SimpleNamespace(output=SimpleNamespace(completion=reply))
    score = asyncio.run(verdict(extraction)(state, Target(label_of(deal))))
    assert sum(score.value.values()) == 1
    return score.value["correct"]


PAYERS = [by_trl, by_verl, by_openrlhf]
ADAPTERS: list[Any] = [*PAYERS]
# Where a library is missing, its own test beside this file is skipped and says why.
if find_spec("verifiers"):
    ADAPTERS.append(by_verifiers)
if find_spec("inspect_ai"):
    ADAPTERS.append(by_inspect)

EXPLOITS = [
    ("reasoning-gym's puzzle24 never looks at the cards", (9, 9, 9, 9), "6*4*1*1"),
    ("reasoning-gym truncates 24.5 with int()", (7, 7, 2, 7), "(7+7)*7/4"),
    ("TinyZero admits powers", (2, 3, 3, 1), "2**3*3*1"),
    ("TinyZero admits floor division", (5, 2, 4, 3), "5//2*4*3"),
    ("a Game-24 verifier does not look at the target", (1, 2, 3, 5), "1+2+3+5"),
    ("floats within 1e-5 of 24", (7, 9, 8, 10), "8+9+7/10+7"),
    ("the rule that was memorised", (13, 5, 1, 2), "10*2+5-1"),
]


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("extraction", FILTERS)
@pytest.mark.parametrize(("about", "numbers", "formula"), EXPLOITS, ids=[e[0] for e in EXPLOITS])
def test_exploits_of_other_checkers_earn_nothing(adapter, extraction, about, numbers, formula):
    deal = Deal(tuple(RANK.get(n, str(n)) for n in numbers), RULES["ood"])
    for reply in (formula, json_reply(deal, formula), f"So \\boxed{{{formula}}}", f"{formula} = 24"):
        assert adapter(deal, reply, extraction=extraction) == 0


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize(
    "case", read_cases("answers.jsonl"), ids=lambda case: f"{case['cls']} {case['answer']}"
)
def test_adversarial_answers_are_paid_by_their_truth(adapter, case):
    deal = Deal(tuple(RANK.get(n, str(n)) for n in case["hand"]), RULES["ood"])
    reply = json_reply(deal, case["answer"])
    assert adapter(deal, reply, extraction="strict-match") == float(case["truth"])
    allowed = case["truth"] or case["cls"] in TRUE_WHEN_FLEXIBLE
    assert adapter(deal, case["answer"], extraction="flexible-extract") == float(allowed)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("case", read_cases("replies.jsonl"), ids=lambda case: case["about"])
def test_replies_are_paid_by_their_verdict(adapter, case):
    for extraction in FILTERS:
        assert adapter(DEAL, case["reply"], extraction=extraction) == float(case[extraction] == "correct")


@pytest.mark.parametrize("adapter", PAYERS)
def test_a_table_by_name_or_of_ones_own_pays_the_verdict(adapter):
    assert adapter(DEAL, "13+5*2-1", table="verdict") == -1
    own = {"correct": 9, "wrong_rule": 8, "wrong_value": 7, "wrong_numbers": 6, "illegal": 5, "no_answer": 4}
    assert [adapter(DEAL, reply, table=own) for reply in (RIGHT, "10*2+5-1", "13+5*2-1", "1+1", "\\boxed{13+}", "")] == [
        9, 8, 7, 6, 5, 4
    ]  # fmt: skip


def test_a_configured_adapter_keeps_its_name_and_pays_by_its_table():
    reward = using(trl_reward, table="verdict", extraction="strict-match")
    assert reward.__name__ == "trl_reward"
    assert reward(["?"], [RIGHT], cards=[["K", "5", "A", "2"]], rule=["ood"], target=[24]) == [5]


def test_verl_gets_accuracy_and_verdict_beside_the_score():
    found = verl_compute_score("points24/ood", "10*2+5-1", label_of(DEAL), None, table="verdict")
    assert found == {"score": -2, "acc": 0, "verdict": "wrong_rule"}


def test_openrlhf_gets_tensors_and_the_share_of_each_verdict():
    found = openrlhf_reward(["?" + RIGHT, "?13+5"], ["?", "?"], [label_of(DEAL)] * 2)
    assert found["rewards"].tolist() == found["scores"].tolist() == [1, 0]
    assert found["extra_logs"]["correct"].tolist() == [1, 0]
    assert found["extra_logs"]["wrong_numbers"].tolist() == [0, 1]


@pytest.mark.parametrize(
    "end",
    [
        "",
        "</s>",
        "<|im_end|>",
        "<|im_end|>\n",
        "<|eot_id|>",
        "<end_of_turn>\n<eos>",
        "[/INST]",
        "<｜end▁of▁sentence｜>",
    ],
)
def test_openrlhf_responses_lose_their_special_tokens(end):
    assert response_in("<s>prompt:" + RIGHT + end, "prompt:") == RIGHT


@pytest.mark.parametrize("reply", ["13 > 5", "[13+5*2+1]", "<b>", "", ">"])
def test_openrlhf_responses_keep_what_is_no_special_token(reply):
    assert response_in(reply, "") == response_in("?" + reply + "<eos>" * 3, "?") == reply


def test_trl_logs_verdicts_and_their_shares():
    extra, metrics = {}, {}
    trl_reward(
        ["?"] * 2, [RIGHT, ""], cards=[DEAL.cards] * 2, rule=["ood"] * 2, target=[24] * 2, other=["x"] * 2,
        log_extra=extra.__setitem__, log_metric=metrics.__setitem__,
    )  # fmt: skip
    assert extra == {"verdict": ["correct", "no_answer"]}
    assert metrics["verdict/correct"] == metrics["verdict/no_answer"] == 0.5
    assert len(metrics) == 6


@pytest.mark.parametrize("completion", [None, 24, [], [{"role": "assistant"}], [None]])
def test_a_completion_without_text_is_no_answer_and_no_error(completion):
    assert trl_reward(
        ["?"], [completion], cards=[DEAL.cards], rule=["ood"], target=[24], table="verdict"
    ) == [-3]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trl_reward(["?"], [RIGHT]), "trl_reward: expected 1 entries in column 'cards', found none"),
        (
            lambda: trl_reward(["?"], [RIGHT], cards=[["K"]] * 2, rule=["ood"], target=[24]),
            "expected 1 entries in column 'cards', found 2",
        ),
        (lambda: deal_of(["K", "5"], "ood", 24), "a deal has 3 to 6 cards, found 2: K 5"),
        (lambda: deal_of(5, "ood", 24), "expected a list of ranks, a rule's name and a whole number"),
        (lambda: deal_of("K 5 A 2", "odd", 24), "unknown rule 'odd'"),
        (lambda: deal_of("K 5 A 2", None, 24), "no column rule"),
        (lambda: deal_of("K 5 A 2", "ood", "24"), "the target is a whole number from 1 to 9999, found '24'"),
        (lambda: deal_in("24"), "label: expected an object with cards, rule, target, found 24"),
        (lambda: deal_in("K 5"), "label: expected a deal as JSON, found 'K 5'"),
        (lambda: deal_in({"cards": "K 5 A 2"}), "label: expected an object with cards, rule, target"),
        (lambda: openrlhf_reward(["a"], ["a", "b"], ["{}"]), "expected columns of one length"),
        (lambda: openrlhf_reward(["ab"], ["c"], [label_of(DEAL)]), "a query does not contain its prompt: 'ab'"),
        (lambda: judged(DEAL, RIGHT, "dense"), "rewards: expected paper or verdict or sparse or a table, found 'dense'"),
        (lambda: using(trl_reward, table="dense"), "rewards: expected paper or verdict or sparse or a table, found 'dense'"),
        (lambda: using(trl_reward, extraction="loose"), "unknown extraction 'loose'; allowed: strict-match"),
    ],
)  # fmt: skip
def test_a_bad_column_hand_or_table_is_one_line(call, message):
    with pytest.raises(InputError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_importing_the_rewards_loads_neither_torch_nor_lm_eval():
    code = "import sys, points24.rewards; print(sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "lm_eval", "datasets", "transformers"):
        assert f"'{heavy}'" not in loaded
