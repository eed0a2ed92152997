"""REINFORCE leave-one-out (arXiv:2402.14740), by TRL's RLOOTrainer with our rewards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from trl.trainer import rloo_config
from trl.trainer.rloo_trainer import RLOOTrainer

from points24.trainers.run.rollouts import RolloutConfig
from points24.trainers.run.run import train_run
from points24.trainers.run.verified import verified


@dataclass
class RLOOConfig(RolloutConfig, rloo_config.RLOOConfig):
    """TRL's RLOOConfig with `RolloutConfig`; a deal is played `num_generations` times in a rollout."""

    temperature: float = 1.0
    max_completion_length: int | None = 512
    shuffle_dataset: bool | None = False

    def __post_init__(self) -> None:
        self.check()
        super().__post_init__()
        self.check_rollouts()


def build_trainer(config: RLOOConfig, model: Any, tokenizer: Any, callbacks: list[Any]) -> RLOOTrainer:
    """TRL's trainer on the deals that the run will play."""
    return RLOOTrainer(model, args=config, callbacks=callbacks, **verified(config, tokenizer))


train = partial(train_run, "RLOO", RLOOConfig, build_trainer)
"""Settings -> the run's folder."""
