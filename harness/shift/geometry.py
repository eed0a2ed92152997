"""Where the prompts lie in a model's hidden states: similarity with the base, and movement along its axis.

*States* are (deals, width): the hidden state of each prompt's last token behind one layer, in any dtype;
everything is computed in double precision.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_NONE = 1e-20
"""A squared norm, relative to that of the uncentred states, below which centred states are rounding."""


def linear_cka(x: Tensor, y: Tensor) -> float | None:
    """Linear CKA of two models' states for the same deals: 0 … 1 (Kornblith et al., arXiv:1905.00414).

    ‖YᵀX‖²_F / (‖XᵀX‖_F ‖YᵀY‖_F) for centred X, Y. It does not see rotations or a common scale.

    Returns:
        None where either has the same state for all deals.
    """
    if not (_varies(x) and _varies(y)):
        return None
    x, y = _centred(x), _centred(y)
    if len(x) < max(x.shape[1], y.shape[1]):  # the same number from the smaller (deals, deals) matrices
        gram_x, gram_y = x @ x.T, y @ y.T
        top, left, right = (gram_x * gram_y).sum(), gram_x.norm(), gram_y.norm()
    else:
        top, left, right = (y.T @ x).square().sum(), (x.T @ x).norm(), (y.T @ y).norm()
    return (top / (left * right)).item()


class Plane(NamedTuple):
    """Coordinates that one layer of the base defines; a unit is the distance of its two centroids."""

    origin: Tensor
    """(width,): the base's ID centroid."""
    axes: Tensor
    """(width, 2): towards the base's OOD centroid, and the direction of most variance at right angles to
    it; a state's coordinates are its product with them."""

    def of(self, states: Tensor) -> Tensor:
        """(deals, 2)."""
        return (states.double() - self.origin) @ self.axes


def plane(states_id: Tensor, states_ood: Tensor) -> Plane | None:
    """The plane of the base's states; None where the two centroids are equal."""
    origin, other = states_id.double().mean(0), states_ood.double().mean(0)
    length = (other - origin).norm()
    if not length > 0:
        return None
    along = (other - origin) / length
    around = torch.cat([_centred(states_id), _centred(states_ood)])
    around = around - (around @ along)[:, None] * along
    if len(around) < len(along):
        across = around.T @ torch.linalg.eigh(around @ around.T)[1][:, -1]
        across = across / across.norm()
    else:
        across = torch.linalg.eigh(around.T @ around)[1][:, -1]
    across = across * torch.sign(across[across.abs().argmax()])  # an eigenvector has no sign of its own
    return Plane(origin, torch.stack([along, across], 1) / length)


def covariance(points: Tensor) -> tuple[float, float, float]:
    """xx, xy, yy of (deals, 2) points, with n in the denominator."""
    around = points - points.mean(0)
    full = around.T @ around / len(points)
    return full[0, 0].item(), full[0, 1].item(), full[1, 1].item()


def _centred(states: Tensor) -> Tensor:
    doubles = states.double()
    return doubles - doubles.mean(0)


def _varies(states: Tensor) -> bool:
    return bool(_centred(states).square().sum() > _NONE * states.double().square().sum())
