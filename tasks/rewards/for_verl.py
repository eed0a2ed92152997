"""verl: a custom reward function.

    reward.custom_reward_function.path=pkg://points24.rewards
    reward.custom_reward_function.name=verl_compute_score
    +reward.custom_reward_function.reward_kwargs.table=verdict

Written to the source of verl 0.9.1, which trains on accelerators alone: `load_module` in
verl/utils/import_utils.py takes ``pkg://``; `NaiveRewardManager` in verl/workers/reward_manager/naive.py
passes four arguments by name, takes "score" of a returned dict as the reward, and logs the rest.
"""

from __future__ import annotations

from typing import Any

from points24.tasks.rewards.reward import DEFAULT_EXTRACTION, DEFAULT_TABLE, deal_in, judged
from points24.tasks.rewards.tables import Reward, Table
from points24.tasks.verdict import Verdict


def verl_compute_score(  # noqa: PLR0913 - four are of verl, two of ours
    data_source: str,
    solution_str: str,
    ground_truth: object,
    extra_info: object = None,
    *,
    table: Table | Reward = DEFAULT_TABLE,
    extraction: str = DEFAULT_EXTRACTION,
    **_: object,
) -> dict[str, Any]:
    """The reward of a response under "score"; "acc", 0 or 1, and "verdict" beside it.

    Args:
        data_source: not read: every row with a deal is judged alike.
        solution_str: the response.
        ground_truth: the deal as JSON, in ``reward_model`` of the rows of ``points24 deals --format verl``.
        extra_info: not read.
        table: see `points24.tasks.rewards.reward.judged`; `using` sets it.
        extraction: likewise.

    Raises:
        InputError: the ground truth is no deal.
    """
    value, judgement = judged(deal_in(ground_truth), solution_str, table, extraction)
    acc = float(judgement.verdict is Verdict.CORRECT)
    return {"score": value, "acc": acc, "verdict": judgement.verdict.value}
