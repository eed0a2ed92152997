"""TRL: ``GRPOTrainer(reward_funcs=trl_reward)``, likewise RLOO and every trainer with reward functions.

Tested with TRL 1.16. The rows of ``points24 deals NAME --format trl`` have the columns that it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from points24.tasks.errors import InputError
from points24.tasks.rewards.reward import (
    DEAL_KEYS,
    DEFAULT_EXTRACTION,
    DEFAULT_TABLE,
    deal_of,
    judged,
    reply_of,
)
from points24.tasks.rewards.tables import Reward, Table
from points24.tasks.verdict import Verdict


def trl_reward(
    prompts: Sequence[object],
    completions: Sequence[object],
    *,
    table: Table | Reward = DEFAULT_TABLE,
    extraction: str = DEFAULT_EXTRACTION,
    **columns: Any,
) -> list[float | None]:
    """A reward per completion. TRL logs the share of each verdict, and shows verdicts beside completions.

    Args:
        prompts: not read; the deal stands in the columns.
        completions: texts, or conversations of which the last message counts.
        table: see `points24.tasks.rewards.reward.judged`; `using` sets it.
        extraction: likewise.
        columns: ``cards``, ``rule`` and ``target``, one entry per completion; others are ignored. TRL adds
            its loggers.

    Raises:
        InputError: a column is missing, of another length, or holds no deal.
    """
    given = [_column(columns, name, len(completions)) for name in DEAL_KEYS]
    earned = [
        judged(deal_of(*deal), reply_of(completion), table, extraction)
        for *deal, completion in zip(*given, completions, strict=True)
    ]
    verdicts = [each.judgement.verdict.value for each in earned]
    if log_extra := columns.get("log_extra"):
        log_extra("verdict", verdicts)
    if log_metric := columns.get("log_metric"):
        for verdict in Verdict:
            log_metric(f"verdict/{verdict.value}", verdicts.count(verdict.value) / len(verdicts))
    return [each.reward for each in earned]


def _column(columns: dict[str, Any], name: str, length: int) -> Sequence[object]:
    column = columns.get(name)
    if column is None or len(column) != length:
        found = "none" if column is None else len(column)
        raise InputError(
            f"trl_reward: expected {length} entries in column {name!r}, found {found}; "
            "points24 deals NAME --format trl writes such rows"
        )
    return column
