"""Angles between lines and between subspaces.

Principal angles between subspaces with orthonormal bases X, Y have the singular values of Y - X XᵀY as sines
(Björck and Golub, 1973).
"""

from __future__ import annotations

import torch
from torch import Tensor

TENTHS = 10


def principal_angles(x: Tensor, y: Tensor) -> Tensor:
    """Angles between the column spaces of two (n, k) orthonormal bases: (k,), radians, descending, fp64.

    In fp64 right to about 1e-8, in fp32 to 3e-4 of the largest: the squared sines are the eigenvalues of the
    Gram matrix of Y - X XᵀY, which costs a fraction of its singular values.
    """
    rest = torch.addmm(y, x, x.T @ y, alpha=-1)
    squares = torch.linalg.eigvalsh((rest.T @ rest).double())
    return squares.clamp_(0, 1).sqrt_().arcsin_().flip(0).cpu()


def sign_of(x: Tensor, y: Tensor) -> Tensor:
    """The signs that turn the columns of y towards those of x, (n, k) both: (k,), 1 or -1."""
    return torch.where((x * y).sum(0) < 0, -1.0, 1.0).to(y)


def angle_of_chord(chord: Tensor) -> Tensor:
    """The angle in [0, π/2] between two lines, from the distance between unit vectors along them."""
    angle = 2 * torch.arcsin((chord / 2).clamp_max(1))
    return torch.minimum(angle, torch.pi - angle)


def cosines_by_tenth(angles: Tensor) -> list[float]:
    """Mean cosine of each tenth of some angles that are not NaN; 1 where all are: nothing has turned."""
    parts = angles.cos().tensor_split(min(TENTHS, len(angles)))
    return [part.nanmean().nan_to_num(1.0).item() for part in parts]
