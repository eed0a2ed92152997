"""OpenRLHF: ``--reward.remote_url FILE.py``, where FILE.py holds

    from points24.rewards import openrlhf_reward as reward_func

Written to the source of OpenRLHF 0.11.2, which needs a GPU: `SingleTurnAgentExecutor`
(openrlhf/utils/agent.py) loads `reward_func` from the file, calls it with texts that hold special tokens, and
reads "rewards", "scores" and "extra_logs" of what it returns, as tensors.
Rows: ``points24 deals NAME --format openrlhf``, with ``--data.input_key prompt --data.label_key label``.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from points24.tasks.errors import InputError
from points24.tasks.notation import TURN_MARK
from points24.tasks.rewards.reward import DEFAULT_EXTRACTION, DEFAULT_TABLE, deal_in, judged
from points24.tasks.rewards.tables import Reward, Table
from points24.tasks.verdict import Verdict


def openrlhf_reward(
    queries: Sequence[str],
    prompts: Sequence[str],
    labels: Sequence[object],
    *,
    table: Table | Reward = DEFAULT_TABLE,
    extraction: str = DEFAULT_EXTRACTION,
    **_: object,
) -> dict[str, Any]:
    """The rewards as a tensor of shape (queries,), 0 or 1 as "scores", and the share of each verdict.

    Args:
        queries: prompt and response in one text, special tokens included.
        prompts: the prompts.
        labels: the deals as JSON, the column ``label``.
        table: see `points24.tasks.rewards.reward.judged`; `using` sets it.
        extraction: likewise.

    Raises:
        InputError: columns of different lengths, a label without a deal, or a query without its prompt.
    """
    lengths = {"queries": len(queries), "prompts": len(prompts), "labels": len(labels)}
    if len(set(lengths.values())) > 1:
        raise InputError(f"openrlhf_reward: expected columns of one length, found {lengths}")
    earned = [
        judged(deal_in(label), response_in(query, prompt), table, extraction)
        for query, prompt, label in zip(queries, prompts, labels, strict=True)
    ]
    torch = importlib.import_module("torch")  # the trainer's; the checker needs none
    verdicts = [each.judgement.verdict for each in earned]
    return {
        "rewards": torch.tensor([each.reward for each in earned]),
        "scores": torch.tensor([float(verdict is Verdict.CORRECT) for verdict in verdicts]),
        "extra_logs": {
            verdict.value: torch.tensor([float(each is verdict) for each in verdicts]) for verdict in Verdict
        },
    }


def response_in(query: str, prompt: str) -> str:
    """What follows the prompt in a query, without the special tokens at its end.

    Raises:
        InputError: the query does not contain the prompt; what to judge is then unknown.
    """
    place = query.find(prompt)
    if place < 0:
        raise InputError(f"openrlhf_reward: a query does not contain its prompt: {query!r:.80}")
    response = query[place + len(prompt) :]
    while (text := response.rstrip()).endswith((">", "]")):
        mark = TURN_MARK.fullmatch(text, max(text.rfind("<"), text.rfind("[")))
        if mark is None:
            break
        response = text[: mark.start()]
    return response
