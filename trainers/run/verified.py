"""What TRL's trainers with reward functions take: the deals, and the verifier's reward."""

from __future__ import annotations

from itertools import islice
from typing import Any

from datasets import Dataset

from points24.tasks.rewards.for_trl import trl_reward
from points24.tasks.rewards.reward import columns_of, using
from points24.trainers.deals import deals, prompt_row
from points24.trainers.run.rollouts import RolloutConfig


def verified(config: RolloutConfig, tokenizer: Any) -> dict[str, Any]:
    """The trainer's arguments besides model, settings and callbacks; the protocol's own filter judges."""
    rows = [
        prompt_row(deal, config.wording, config.apply_chat_template) | columns_of(deal)
        for deal in islice(deals(config.parsed_rule, config.seed), config.deals_to_play)
    ]
    return {
        "reward_funcs": using(trl_reward, table=config.rewards, extraction=config.asked.own_filter),
        "train_dataset": Dataset.from_list(rows),
        "processing_class": tokenizer,
        "peft_config": config.peft_config,
    }
