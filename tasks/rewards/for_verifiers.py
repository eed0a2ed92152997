"""verifiers: a single-turn environment on a hand set.

    vf.load_environment("points24.rewards", name="ood", table="verdict")

Tested with verifiers 0.1.14. Version 0.4 has no environments of this kind any more.
"""

from __future__ import annotations

from typing import Any

from points24.tasks.cards import parse_any_rule
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import hand_set
from points24.tasks.rewards import rows
from points24.tasks.rewards.reward import (
    DEFAULT_EXTRACTION,
    DEFAULT_TABLE,
    checked,
    deal_in,
    judged,
    label_of,
    reply_of,
)
from points24.tasks.rewards.tables import Table
from points24.tasks.verdict import Verdict


def load_environment(
    name: str = "ood",
    rule: str | None = None,
    num_examples: int = -1,
    table: Table = DEFAULT_TABLE,
    extraction: str = DEFAULT_EXTRACTION,
    **settings: Any,
) -> Any:
    """A `verifiers.SingleTurnEnv` whose rubric pays the reward, and logs the share of each verdict.

    Args:
        name: a hand set.
        rule: another rule than the hand set's own.
        num_examples: the first so many deals; -1 takes all.
        table: see `points24.tasks.rewards.reward.judged`.
        extraction: likewise.
        settings: more arguments for `SingleTurnEnv`.

    Raises:
        InputError: unknown hand set, rule, table or extraction; or this verifiers has no such environment.
    """
    import verifiers as vf  # pyright: ignore[reportMissingImports]: the user's own
    from datasets import Dataset

    if not hasattr(vf, "SingleTurnEnv"):
        raise InputError(f"verifiers {vf.__version__} has no SingleTurnEnv; expected a version below 0.4")
    pay = checked(table, extraction)
    hands = hand_set(name, None if rule is None else parse_any_rule(rule))
    count = len(hands) if num_examples < 0 else min(num_examples, len(hands))
    examples = [
        {"prompt": rows.trl(hands, place)["prompt"], "answer": label_of(hands.deals[place])}
        for place in range(count)
    ]

    def reward(completion: Any, answer: str, state: dict[str, Any]) -> float:
        value, judgement = judged(deal_in(answer), reply_of(completion), pay, extraction)
        state["verdict"], state["reason"] = judgement.verdict.value, judgement.reason
        return value

    rubric = vf.Rubric(funcs=[reward], weights=[1.0])
    for verdict in Verdict:
        rubric.add_metric(_share(verdict))
    return vf.SingleTurnEnv(dataset=Dataset.from_list(examples), rubric=rubric, **settings)


def _share(verdict: Verdict) -> Any:
    """A metric: whether the reply has this verdict. The rubric calls it after the reward."""

    def share(state: dict[str, Any]) -> float:
        return float(state.get("verdict") == verdict.value)

    share.__name__ = verdict.value
    return share
