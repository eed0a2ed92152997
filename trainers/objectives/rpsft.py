"""Rotation-preserving SFT (arXiv:2605.10973): −log π(y|x) + c · Σ ‖Uᵀ(W − W₀)V‖², over the weight matrices.

U and V are the first k left and right singular vectors of the parent's W₀. So Uᵀ W₀ V is the diagonal of its
largest singular values: to turn these directions costs, and so does to change the values; what happens
outside is free. The authors' code sums the squares unweighted, with c = 1 and k = 768 of 3,584 columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from points24.tasks.errors import InputError
from points24.trainers.objectives.objective import Loss, Objective, ObjectiveTrainer


class Block(NamedTuple):
    """What is kept of a matrix W₀ (m, n)."""

    left: Tensor
    """U (m, k)."""
    right: Tensor
    """V (n, k)."""
    values: Tensor
    """Uᵀ W₀ V, a diagonal (k,)."""


def block(weight: Tensor, share: float) -> Block:
    """The block of the largest singular values; k is this share of them, at least 1."""
    u, s, vt = torch.linalg.svd(_precise(weight), full_matrices=False)
    k = ceil(share * len(s))
    return Block(u[:, :k], vt[:k].T, s[:k])


def penalty(weight: Tensor, kept: Block) -> Tensor:
    """‖Uᵀ W V − Uᵀ W₀ V‖², the squared Frobenius norm."""
    return (kept.left.T @ _precise(weight) @ kept.right - kept.values.diag()).square().sum()


def _precise(weight: Tensor) -> Tensor:
    return weight.to(torch.promote_types(weight.dtype, torch.float32))


@dataclass(frozen=True)
class RPSFT(Objective):
    """The likelihood with a penalty on turning the parent's leading singular vectors."""

    whole_weights: ClassVar[bool] = True

    coef: float = 1.0
    """c, the weight of the penalty."""
    share: float = 0.2
    """Share of the singular values whose block is kept."""

    def __post_init__(self) -> None:
        if self.coef < 0:
            raise InputError(f"coef: expected at least 0, found {self.coef}")
        if not 0 < self.share <= 1:
            raise InputError(f"share: expected more than 0 and at most 1, found {self.share}")

    def start(self, trainer: ObjectiveTrainer) -> Loss:
        with torch.no_grad():
            blocks = {name: block(weight, self.share) for name, weight in _matrices(trainer.model).items()}

        def loss(model: Any, inputs: dict[str, Any], tokens: Any) -> Tensor:
            weights = _matrices(trainer.accelerator.unwrap_model(model))
            turned = torch.stack([penalty(weights[name], kept) for name, kept in blocks.items()]).sum()
            trainer.note("turned", turned.detach())
            own = trainer.per_micro_batch(self.coef * turned, tokens)
            return trainer.likelihood(model, inputs, tokens) + own

        return loss


def _matrices(model: Any) -> dict[str, Tensor]:
    """The weight matrices of the layers: neither embeddings nor output layer."""
    embeddings = [
        m.weight for m in (model.get_input_embeddings(), model.get_output_embeddings()) if m is not None
    ]
    return {
        name: p for name, p in model.named_parameters() if p.ndim == 2 and all(p is not e for e in embeddings)
    }
