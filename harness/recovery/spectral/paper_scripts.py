"""The matrix part of what the paper's scripts do: for comparison only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from points24.harness.recovery.specs import Interval


def replaced(source: Tensor, target: Tensor, restore: str, ranks: Sequence[Interval]) -> Tensor:
    """The target with some ranks replaced by the source's, by two fp32 SVDs; all (rows, cols), fp16.

    When every rank is chosen this is the source, even if only directions or values were to be restored.
    """
    count = min(target.shape)
    if tuple(ranks) == ((0, count),):
        return source
    is_chosen = torch.zeros(count, dtype=torch.bool, device=target.device)
    for start, stop in ranks:
        is_chosen[start:stop] = True
    theirs = torch.linalg.svd(source.float(), full_matrices=False)
    u, s, vh = torch.linalg.svd(target.float(), full_matrices=False)
    if restore != "values":
        u, vh = torch.where(is_chosen, theirs.U, u), torch.where(is_chosen[:, None], theirs.Vh, vh)
    if restore != "directions":
        s = torch.where(is_chosen, theirs.S, s)
    return ((u.contiguous() * s) @ vh.contiguous()).half()
