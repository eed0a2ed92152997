"""Likelihood with a leash: −log π(y|x) + c · KL(π‖π₀), over the vocabulary at every token of the reply.

π₀ is the parent. The divergence is that of RL's penalty (arXiv:2203.02155, equation 2), here exact, and in
the states of the demonstrations instead of the policy's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from points24.tasks.errors import InputError
from points24.trainers.objectives.objective import Loss, Objective, ObjectiveTrainer, reply_logits


def divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """KL(π‖π₀) in nats (n,), from logits (n, vocabulary) of both."""
    ours, theirs = logits.log_softmax(-1), reference.log_softmax(-1)
    return (ours.exp() * (ours - theirs)).sum(-1)


@dataclass(frozen=True)
class KL(Objective):
    """The likelihood with the parent's divergence beside it."""

    coef: float = 0.1
    """c, the weight of the divergence."""

    def __post_init__(self) -> None:
        if self.coef < 0:
            raise InputError(f"coef: expected at least 0, found {self.coef}")

    def start(self, trainer: ObjectiveTrainer) -> Loss:
        parent = trainer.reference()

        def loss(model: Any, inputs: dict[str, Any], tokens: Any) -> Tensor:
            logits, targets = reply_logits(model, inputs)
            with torch.no_grad():
                reference, _ = reply_logits(parent, inputs)
            away = divergence(logits, reference)
            trainer.note("kl", away.detach().mean())
            surprise = cross_entropy(logits, targets, reduction="none")
            return trainer.token_mean(surprise + self.coef * away, tokens)

        return loss
