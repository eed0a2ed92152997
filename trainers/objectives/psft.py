"""Proximal SFT (arXiv:2508.17784): −min(r, clip(r, 1 − ε, 1 + ε′)) with r = π(y|x) / π_old(y|x).

PPO's surrogate for a demonstration, whose advantage is 1: a token that is 1 + ε′ times as probable as in
π_old has no gradient. π_old is the policy as it was at the beginning of a window of some optimiser steps; the
paper's scripts take 256 rows in minibatches of 32, so 8 steps, with ε = 0.2 and ε′ = 0.28.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from points24.tasks.errors import InputError
from points24.trainers.objectives.objective import Loss, Objective, ObjectiveTrainer, reply_logits


def surrogate(log_probs: Tensor, old: Tensor, low: float, high: float) -> Tensor:
    """The loss of each token, from its log-probabilities now and in π_old; all shapes equal."""
    ratio = (log_probs - old).exp()
    return -torch.minimum(ratio, ratio.clamp(1 - low, 1 + high))


@dataclass(frozen=True)
class PSFT(Objective):
    """PPO's clipped surrogate on demonstrations."""

    whole_weights: ClassVar[bool] = True

    clip_low: float = 0.2
    """ε."""
    clip_high: float = 0.28
    """ε′."""
    window: int = 8
    """Optimiser steps for which π_old stays as it is."""

    def __post_init__(self) -> None:
        for name in ("clip_low", "clip_high"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"{name}: expected more than 0 and less than 1, found {getattr(self, name)}")
        if self.window < 1:
            raise InputError(f"window: expected at least 1, found {self.window}")

    @property
    def period(self) -> int:
        return self.window

    def start(self, trainer: ObjectiveTrainer) -> Loss:
        old, since = trainer.reference(), -1

        def loss(model: Any, inputs: dict[str, Any], tokens: Any) -> Tensor:
            nonlocal since
            step = trainer.state.global_step
            if step % self.window == 0 and step != since:
                old.load_state_dict(trainer.accelerator.unwrap_model(model).state_dict())
                since = step
            logits, targets = reply_logits(model, inputs)
            with torch.no_grad():
                before, _ = reply_logits(old, inputs)
            now, then = (-cross_entropy(x, targets, reduction="none") for x in (logits, before))
            clipped = (now.detach() - then).exp() > 1 + self.clip_high
            trainer.note("clip_fraction", clipped.float().mean())
            return trainer.token_mean(surrogate(now, then, self.clip_low, self.clip_high), tokens)

        return loss
