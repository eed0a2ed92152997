"""What a LoRA adapter does to one tensor of its base.

With W (rows, cols), A (r, cols), B (rows, r) and a scale s, a module becomes W + s B A. DoRA (2402.09353)
then gives each row of that the norm m.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Update:
    """What an adapter does to one tensor of its base."""

    a: Tensor
    b: Tensor
    scale: float
    is_transposed: bool
    """Whether the base stores (cols, rows): GPT-2's Conv1D, and embeddings."""
    magnitude: Tensor | None
    """DoRA's: (rows,)."""

    @property
    def shape(self) -> tuple[int, int]:
        """Of the tensor that it fits."""
        rows, cols = self.b.shape[0], self.a.shape[1]
        return (cols, rows) if self.is_transposed else (rows, cols)

    def merged(self, weight: Tensor) -> Tensor:
        """The tensor with the adapter in it, in its own dtype."""
        exact = weight.double().T if self.is_transposed else weight.double()
        exact = exact + self.scale * (self.b.double() @ self.a.double())
        if self.magnitude is not None:
            norms = torch.linalg.vector_norm(exact, dim=1)
            exact = exact * (self.magnitude.double() / norms)[:, None]
        return (exact.T if self.is_transposed else exact).to(weight.dtype).contiguous()
