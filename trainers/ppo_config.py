"""The settings of PPO."""

from __future__ import annotations

from dataclasses import dataclass

from trl.trainer.grpo_config import GRPOConfig

from points24.tasks.errors import InputError
from points24.tasks.rewards.tables import rewards
from points24.trainers.run.config import RunConfig, at_least_1


@dataclass
class PPOConfig(RunConfig, GRPOConfig):
    """TRL's GRPOConfig with `RunConfig` and the settings of PPO alone.

    TRL's names mean here: `epsilon` the clip of the policy's ratio, `num_iterations` the PPO epochs per
    rollout, `beta` the weight of the divergence from the parent (subtracted from the rewards), `entropy_coef`
    the weight of the entropy bonus, `max_completion_length` the most tokens of one reply.
    """

    num_generations: int | None = 1
    """Episodes per deal in one rollout. With a critic, PPO needs no groups."""
    num_iterations: int = 4
    epsilon: float = 0.1
    beta: float = 0.0
    temperature: float = 1.0
    max_completion_length: int | None = 512
    shuffle_dataset: bool | None = False
    ddp_find_unused_parameters: bool | None = False  # DDP does not see the value head in the model's outputs

    rewards: str | dict[str, float] = "verdict"
    """``paper``: what the paper's environment adds up; ``verdict`` or ``sparse``: see
    `points24.tasks.rewards.tables.TABLES`; or a reward for every verdict."""
    max_turns: int = 1
    """Attempts at a deal; each after the first follows a message of the verifier."""
    gamma: float = 1.0
    """Discount from one token to the next within a turn; the other three as in `ppo_math.Discounts`."""
    lam: float = 0.95
    turn_gamma: float = 0.9
    turn_lam: float = 0.95
    vf_coef: float = 0.5
    """Weight of the value loss."""
    vf_clip: float = 0.2
    """How far a value may move from its value at the time of the rollout, in units of reward."""
    vf_learning_rate: float | None = None
    """Of the value head, which is trained from scratch; None takes `learning_rate`."""
    whiten: bool = True
    """Shift and scale the advantages of a rollout to mean 0 and variance 1."""

    def __post_init__(self) -> None:
        self.check()
        rewards(self.rewards)
        at_least_1(self, "max_steps", "max_turns")
        if self.max_turns > 1 and not self.apply_chat_template:
            raise InputError("max_turns: several attempts need apply_chat_template: true")
        for name in ("gamma", "lam", "turn_gamma", "turn_lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected 0 to 1, found {getattr(self, name)}")
        wanted, self.num_generations = self.num_generations or 1, 2  # GRPOConfig refuses 1
        super().__post_init__()
        self.num_generations = wanted
        if self.episodes_per_rollout % wanted:
            raise InputError(
                f"generation_batch_size: expected a multiple of num_generations ({wanted}), "
                f"found {self.episodes_per_rollout}"
            )
        steps = [*self.save_at, *([self.save_steps] if self.save_strategy == "steps" else [])]
        if bad := [step for step in steps if step % self.steps_per_rollout]:
            raise InputError(
                f"save_steps, save_at: expected multiples of {self.steps_per_rollout}, the steps per rollout "
                f"(rollouts are not saved), found {bad[0]}"
            )

    @property
    def episodes_per_rollout(self) -> int:
        """Over all processes."""
        assert self.generation_batch_size is not None  # GRPOConfig has derived it
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
