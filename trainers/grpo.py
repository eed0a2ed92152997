"""Group-relative policy optimisation (arXiv:2402.03300), by TRL's GRPOTrainer with our rewards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from trl.trainer import grpo_config
from trl.trainer.grpo_trainer import GRPOTrainer

from points24.trainers.run.rollouts import RolloutConfig
from points24.trainers.run.run import train_run
from points24.trainers.run.verified import verified


@dataclass
class GRPOConfig(RolloutConfig, grpo_config.GRPOConfig):
    """TRL's GRPOConfig with `RolloutConfig`; a deal is played `num_generations` times in a rollout."""

    temperature: float = 1.0
    max_completion_length: int | None = 512
    shuffle_dataset: bool | None = False

    def __post_init__(self) -> None:
        self.check()
        super().__post_init__()
        self.check_rollouts()


def build_trainer(config: GRPOConfig, model: Any, tokenizer: Any, callbacks: list[Any]) -> GRPOTrainer:
    """TRL's trainer on the deals that the run will play."""
    return GRPOTrainer(model, args=config, callbacks=callbacks, **verified(config, tokenizer))


train = partial(train_run, "GRPO", GRPOConfig, build_trainer)
"""Settings -> the run's folder."""
