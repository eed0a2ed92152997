"""Settings that TRL's trainers with rollouts share: PPO, GRPO and RLOO play deals, then learn from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from points24.tasks.errors import InputError
from points24.tasks.rewards.tables import rewards
from points24.trainers.run.config import RunConfig, at_least_1, saved_at_multiples


@dataclass
class RolloutConfig(RunConfig):
    """Mixed into TRL's config classes with rollouts, whose fields keep their names and meanings.

    `num_iterations` is the number of epochs over one rollout, `beta` the weight of the divergence from the
    parent, `max_completion_length` the most tokens of one reply.
    """

    if TYPE_CHECKING:  # TRL's
        num_generations: int | None = None
        num_iterations: int = 1
        steps_per_generation: int | None = None
        generation_batch_size: int | None = None
        gradient_accumulation_steps: int = 1
        max_steps: int = -1
        seed: int = 42

    rewards: str | dict[str, float] = "verdict"
    """``paper``: what the paper's environment adds up; ``verdict`` or ``sparse``: see
    `points24.tasks.rewards.tables.TABLES`; or a reward for every verdict."""

    def check(self) -> None:
        super().check()
        rewards(self.rewards)
        at_least_1(self, "max_steps")

    def check_rollouts(self) -> None:
        """Raise `InputError` for sizes that do not go together; TRL has derived what was not given."""
        if self.episodes_per_rollout % (self.num_generations or 1):
            raise InputError(
                f"generation_batch_size: expected a multiple of num_generations ({self.num_generations}), "
                f"found {self.episodes_per_rollout}"
            )
        saved_at_multiples(self, self.steps_per_rollout, "the steps per rollout (rollouts are not saved)")

    @property
    def episodes_per_rollout(self) -> int:
        """Over all processes."""
        assert self.generation_batch_size is not None  # TRL has derived it
        return self.generation_batch_size

    @property
    def steps_per_rollout(self) -> int:
        """Optimiser steps on one rollout: epochs times minibatches."""
        assert self.steps_per_generation is not None  # likewise
        passes = self.num_iterations * self.steps_per_generation
        if passes % self.gradient_accumulation_steps:
            raise InputError(
                f"gradient_accumulation_steps: expected a divisor of num_iterations * steps_per_generation "
                f"({passes}), found {self.gradient_accumulation_steps}"
            )
        return passes // self.gradient_accumulation_steps

    @property
    def deals_to_play(self) -> int:
        """Deals that the whole run plays."""
        rollouts = -(-self.max_steps // self.steps_per_rollout)
        return rollouts * self.episodes_per_rollout // (self.num_generations or 1)
