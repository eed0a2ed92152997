"""What an objective of SFT is, and TRL's trainer with one.

Each is a file beside this: a pure function with its equation, as a mean over the replies' tokens in a step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from trl.trainer.sft_trainer import SFTTrainer

IGNORED = -100
"""The label of positions that the loss skips."""


Loss = Callable[[Any, dict[str, Any], Any], Tensor]
"""(model, inputs of a micro-batch, labelled tokens in the whole step or None) -> its share of the loss."""


@dataclass(frozen=True)
class Objective:
    """How replies become a loss. The fields of a subclass are its `objective_args`.

    Raises:
        InputError: an argument is out of range.
    """

    loss_type: ClassVar[str] = "nll"
    """TRL's loss, which `start` may build on or replace."""
    whole_weights: ClassVar[bool] = False
    """Whether it needs every weight whole in every process: no adapter, and no sharding."""

    @property
    def period(self) -> int:
        """Optimiser steps from one state that can be saved to the next."""
        return 1

    def start(self, trainer: ObjectiveTrainer) -> Loss:
        """The loss; called before the first step, when the trainer's model still is the parent."""
        return trainer.likelihood


class ObjectiveTrainer(SFTTrainer):
    """TRL's trainer with another objective than its own."""

    def __init__(self, *args: Any, objective: Objective, parent: Any, **kwargs: Any):
        """`parent` loads the parent's model once more, for objectives that compare with it."""
        super().__init__(*args, **kwargs)
        self.parent = parent
        self.loss = objective.start(self)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The objective's loss in training; outputs, and so evaluation, are TRL's."""
        if return_outputs:
            return super().compute_loss(model, inputs, True, num_items_in_batch)
        return self.loss(model, inputs, num_items_in_batch)

    def likelihood(self, model: Any, inputs: dict[str, Any], tokens: Any) -> Tensor:
        """TRL's own loss."""
        return super().compute_loss(model, inputs, num_items_in_batch=tokens)

    def reference(self) -> Any:
        """The parent's model, which is never trained."""
        return self.parent().to(self.accelerator.device).eval().requires_grad_(requires_grad=False)

    def token_mean(self, per_token: Tensor, tokens: Any) -> Tensor:
        """The mean over the tokens of the step, as TRL takes it over micro-batches and processes."""
        if tokens is None:
            return per_token.mean()
        across = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        return per_token.sum() / torch.as_tensor(tokens).clamp(min=1) * across

    def per_micro_batch(self, penalty: Tensor, tokens: Any) -> Tensor:
        """A penalty of the weights, which counts once a step, as the share of one micro-batch."""
        return penalty if tokens is None else penalty / self.current_gradient_accumulation_steps

    def note(self, name: str, value: Tensor) -> None:
        """TRL logs the mean of the values noted since the last log."""
        self._metrics["train"][name].append(value.item())


def reply_logits(model: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """The logits (n, vocabulary), in float32, with which a model chooses the n labelled tokens, and these."""
    given = {key: value for key, value in inputs.items() if key != "labels"}
    targets = inputs["labels"][:, 1:]
    kept = (targets != IGNORED).any(0).nonzero().flatten()  # no logits over the prompts
    logits = model(**given, use_cache=False, logits_to_keep=kept).logits
    labelled = targets[:, kept] != IGNORED
    return logits[labelled].float(), targets[:, kept][labelled]
