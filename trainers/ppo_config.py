"""The settings of PPO."""

from __future__ import annotations

from dataclasses import dataclass

from trl.trainer.grpo_config import GRPOConfig

from points24.tasks.errors import InputError
from points24.trainers.run.config import at_least_1
from points24.trainers.run.rollouts import RolloutConfig


@dataclass
class PPOConfig(RolloutConfig, GRPOConfig):
    """TRL's GRPOConfig with `RolloutConfig` and the settings of PPO alone.

    `epsilon` is the clip of the policy's ratio, `entropy_coef` the weight of the entropy bonus. With `beta`,
    the divergence from the parent is subtracted from the rewards.
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
        at_least_1(self, "max_turns")
        if self.max_turns > 1 and not self.apply_chat_template:
            raise InputError("max_turns: several attempts need apply_chat_template: true")
        for name in ("gamma", "lam", "turn_gamma", "turn_lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected 0 to 1, found {getattr(self, name)}")
        wanted, self.num_generations = self.num_generations or 1, 2  # GRPOConfig refuses 1
        super().__post_init__()
        self.num_generations = wanted
        self.check_rollouts()
