"""How two matrices of one shape differ, in their singular values and in the directions that go with them.

Principal angles between subspaces with orthonormal bases X, Y have the singular values of XᵀY as cosines
and those of Y - X XᵀY as sines (Björck and Golub, 1973). Each angle is taken from the better conditioned of
the two: small angles from the sine, angles near 90 degrees from the cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from points24.harness.recovery.specs import Amount, parse_amount
from points24.harness.recovery.spectral.factors import factorise, orient

SHARES = tuple(parse_amount(share) for share in ("1%", "5%", "10%", "20%", "50%"))
"""The nested subspaces that are compared: shares of the ranks."""
DECILES = 10


def principal_angles(x: Tensor, y: Tensor) -> Tensor:
    """Angles between the column spaces of two (n, k) orthonormal bases: (k,), radians, descending."""
    overlap = x.T @ y
    cosines = torch.linalg.svdvals(overlap).flip(0).clamp_max(1)
    sines = torch.linalg.svdvals(y - x @ overlap).clamp_max(1)
    return torch.where(cosines**2 < 0.5, torch.arccos(cosines), torch.arcsin(sines))


def compare(a: Tensor, b: Tensor, shares: Sequence[Amount] = SHARES) -> dict[str, Any]:
    """Drift from A to B, both (rows, cols).

    Returns:
        values: relative Frobenius change of the singular values; change: of the matrix
        leading, trailing: share of ranks -> mean and largest principal angle, in degrees, between the
            subspaces of the leading (trailing) right vectors of the matrix, oriented to be at least as tall
            as wide
        alignment: mean |cosine| between vectors of equal rank, for each tenth of the ranks
        energy: share of ranks -> share of ‖B - A‖² inside A's leading subspaces of both sides

    Raises:
        ValueError: NaN or infinite elements.
    """
    fa, fb = factorise(a), factorise(b)
    ranks = len(fa.values)
    norm = torch.linalg.vector_norm
    # A change's coordinates in A's bases: Uᵀ(B - A)V = S⁻¹ (A V)ᵀ (B - A) V, with U's null columns left out.
    wide = orient(a).double() @ fa.vectors
    left = wide / torch.where(fa.values > 0, fa.values, torch.inf)
    difference = orient(b).double() - orient(a).double()
    inside = (left.T @ difference @ fa.vectors).square_()
    total = difference.square().sum()
    facts: dict[str, Any] = {
        "values": (norm(fb.values - fa.values) / norm(fa.values)).item() if fa.values[0] > 0 else None,
        "change": (total.sqrt() / norm(fa.values)).item() if fa.values[0] > 0 else None,
        "leading": {},
        "trailing": {},
        "energy": {},
    }
    for share in shares:
        k = share.of(ranks)
        for end, chosen in (("leading", slice(0, k)), ("trailing", slice(ranks - k, ranks))):
            angles = torch.rad2deg(principal_angles(fa.vectors[:, chosen], fb.vectors[:, chosen]))
            facts[end][share.text] = {"k": k, "mean": angles.mean().item(), "max": angles.max().item()}
        facts["energy"][share.text] = (inside[:k, :k].sum() / total).item() if total > 0 else None
    cosines = (fa.vectors * fb.vectors).sum(0).abs()
    facts["alignment"] = [part.mean().item() for part in cosines.tensor_split(min(DECILES, ranks))]
    return facts


def rounding_neighbour(matrix: Tensor, seed: int = 0) -> Tensor:
    """The matrix with every element moved at random within its bf16 rounding cell: (rows, cols), fp64.

    The drift to it is the floor: what rounding to bf16 alone looks like.
    """
    generator = torch.Generator().manual_seed(seed)
    jitter = torch.rand(matrix.shape, generator=generator, dtype=torch.float64).to(matrix.device) - 0.5
    _, exponent = torch.frexp(matrix.double())
    # A bf16 has 8 significant bits: with |w| in [2^(e-1), 2^e) its neighbours are 2^(e-8) away.
    return matrix.double() + torch.ldexp(jitter, exponent - 8) * (matrix != 0)
