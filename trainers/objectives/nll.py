"""The plain objective: −log π(y|x), the negative log-likelihood of the replies; TRL's own loss, or the same.

Where it has no Triton kernel, as on a CPU, TRL 1.16 computes the logits of the prompts too, recomputes all of
them in the backward pass, and logs their entropy. With a large vocabulary that is most of a step's time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy

from points24.trainers.objectives.objective import Loss, Objective, ObjectiveTrainer, reply_logits


@dataclass(frozen=True)
class NLL(Objective):
    """TRL's ``loss_type: nll``."""

    replies_alone: bool = False
    """Compute no logits but those that choose a reply's tokens."""

    def start(self, trainer: ObjectiveTrainer) -> Loss:
        if not self.replies_alone:
            return super().start(trainer)

        def loss(model: Any, inputs: dict[str, Any], tokens: Any) -> Tensor:
            return trainer.token_mean(cross_entropy(*reply_logits(model, inputs), reduction="none"), tokens)

        return loss
