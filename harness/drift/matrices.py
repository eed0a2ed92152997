"""How two matrices of one shape differ: in their singular values, in the directions of these, in bits.

With A = Σ a_i u_i v_iᵀ and B = Σ b_i u'_i v'_iᵀ, rank i has turned on the left (the rows' side, a module's
output) by the angle between u_i and u'_i, and on the right (the columns' side, its input) by that between v_i
and v'_i. The factors hold the vectors of the shorter side, the near one: right vectors of a tall matrix, left
ones of a wide one. Those of the far side follow from A v_i = a_i u_i. They are the dearest part, so they are
made exactly for small matrices, and for large ones in fp32 and only for the ranks of head and tail and some
between: an error of about 1e-7 a_0 / a_i, far below what rounding to bf16 turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import Any, NamedTuple

import torch
from torch import Tensor

from points24.harness.drift.angles import angle_of_chord, cosines_by_tenth, principal_angles, sign_of
from points24.harness.drift.ranks import Ranks, spread
from points24.harness.recovery.spectral.factors import Factors, chunk_rows, factorise, orient

POINTS = 32
"""Points of a curve of principal angles, at most."""


class _Passed(NamedTuple):
    """What one pass over the rows of both matrices finds."""

    change: Tensor
    """‖B - A‖²"""
    inside: Tensor
    """‖Uᵀ (B - A) V‖² with A's head vectors of both sides."""
    unchanged: float
    """The share of elements whose bf16 value is the same."""
    vectors: Tensor
    """B's far vectors: (long side, r)."""
    chords: Tensor
    """Their distance from A's, up to the sign: (r,)."""


@dataclass(frozen=True)
class First:
    """A matrix that others are compared with, factorised once."""

    matrix: Tensor
    """(rows, cols)"""
    factors: Factors
    ranks: Ranks
    far: Tensor
    """The far vectors of the chosen ranks, as columns: (long side, r)."""

    @classmethod
    def of(cls, matrix: Tensor) -> First:
        """Raises: ValueError: NaN or infinite elements."""
        factors = factorise(matrix)
        ranks = Ranks.of(len(factors.values))
        tall, onto = orient(matrix), _onto(factors, ranks)
        far = torch.empty(len(tall), onto.shape[1], dtype=onto.dtype, device=tall.device)
        for rows in _chunks(tall):
            torch.mm(tall[rows].contiguous().to(onto.dtype), onto, out=far[rows])
        return cls(matrix, factors, ranks, far)

    def to(self, other: Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
        """Drift to another (rows, cols) matrix, which may be of another dtype; angles in degrees.

        Null singular values have arbitrary directions: their angles count nowhere.

        Returns:
            facts: of
                values, change: relative Frobenius change of the singular values, and of the matrix
                unchanged: the share of elements whose bf16 value is the same
                energy: the share of ‖B - A‖² inside A's head on both sides
                alignment: mean |cosine| of right vectors of equal rank, for each tenth of the ranks
                alignment_left: likewise of left vectors
                vectors: left, right -> mean angle between vectors of equal rank in head, bulk and tail
                subspaces: left, right -> head, tail -> k, mean and max of the k principal angles between both
                    matrices' subspaces
            curves: ``count`` of the ranks; the ``ranks`` of the points and for each of them ``ratio``
                b_i / a_i and the angles ``left`` and ``right``; principal angles, ascending, as
                ``head_left``, ``head_right``, ``tail_left`` and ``tail_right``

        Raises:
            ValueError: NaN or infinite elements.
        """
        is_same = self.matrix.dtype == other.dtype and torch.equal(self.matrix, other)
        factors = self.factors if is_same else factorise(other)
        sign = sign_of(self.factors.vectors, factors.vectors)
        passed = self._pass(other, factors, sign)
        near = torch.linalg.vector_norm(factors.vectors * sign - self.factors.vectors, dim=0)
        null = (self.factors.values == 0) | (factors.values == 0)
        far = torch.full_like(near, torch.nan).index_copy_(
            0, self.ranks.chosen.to(near.device), passed.chords
        )
        chords = self._by_side(near, far)
        turned = {side: angle_of_chord(c.where(~null, torch.nan)).cpu() for side, c in chords.items()}
        bases = self._by_side((self.factors.vectors, factors.vectors), (self.far, passed.vectors))
        principal = {
            side: {end: principal_angles(x[:, part], y[:, part]) for end, part in self.ranks.ends.items()}
            for side, (x, y) in bases.items()
        }
        return self._facts(factors, passed, turned, principal), self._curves(factors, turned, principal)

    def _by_side(self, near: Any, far: Any) -> dict[str, Any]:
        is_tall = self.matrix.shape[0] >= self.matrix.shape[1]
        return {"left": far, "right": near} if is_tall else {"left": near, "right": far}

    def _pass(self, other: Tensor, factors: Factors, sign: Tensor) -> _Passed:
        a, b, head = orient(self.matrix), orient(other), self.ranks.ends["head"]
        onto = _onto(factors, self.ranks)
        signed, near = onto * sign[self.ranks.chosen].to(onto), self.factors.vectors[:, head].to(onto)
        far = torch.empty_like(self.far)
        inside = near.new_zeros(near.shape[1], near.shape[1])
        chords = torch.zeros(far.shape[1], dtype=torch.float64, device=a.device)
        change, same = torch.zeros_like(chords[:1]), torch.zeros_like(chords[:1], dtype=torch.int64)
        for rows in _chunks(a):
            ours, theirs = a[rows].contiguous(), b[rows].contiguous()
            same += torch.count_nonzero(ours.bfloat16() == theirs.bfloat16())
            wide = theirs.to(onto.dtype)
            difference = wide - ours.to(onto.dtype)
            change += torch.linalg.vector_norm(difference).double().square_()
            inside.addmm_(self.far[rows, head].T, difference @ near)
            torch.mm(wide, signed, out=far[rows])
            chords += torch.linalg.vector_norm(far[rows] - self.far[rows], dim=0).double().square_()
        energy = inside.double().square_().sum()
        return _Passed(change[0], energy, same.item() / a.numel(), far, chords.sqrt_())

    def _facts(
        self,
        factors: Factors,
        passed: _Passed,
        turned: dict[str, Tensor],
        principal: dict[str, dict[str, Tensor]],
    ) -> dict[str, Any]:
        size = torch.linalg.vector_norm(self.factors.values)
        moved = torch.linalg.vector_norm(factors.values - self.factors.values)
        return {
            "values": _share(moved, size),
            "change": _share(passed.change.sqrt(), size),
            "unchanged": passed.unchanged,
            "energy": _share(passed.inside, passed.change),
            "alignment": cosines_by_tenth(turned["right"]),
            "alignment_left": cosines_by_tenth(turned["left"]),
            "vectors": {side: self.ranks.means(torch.rad2deg(angles)) for side, angles in turned.items()},
            "subspaces": {
                side: {end: _summary(torch.rad2deg(angles)) for end, angles in ends.items()}
                for side, ends in principal.items()
            },
        }

    def _curves(
        self, factors: Factors, turned: dict[str, Tensor], principal: dict[str, dict[str, Tensor]]
    ) -> dict[str, Any]:
        points = self.ranks.points
        ratio = factors.values / self.factors.values.where(self.factors.values > 0, torch.nan)
        found = {
            "count": self.ranks.count,
            "ranks": tuple(points.tolist()),
            "ratio": _rounded(ratio.cpu()[points]),
        }
        found |= {side: _rounded(torch.rad2deg(angles[points])) for side, angles in turned.items()}
        for side, ends in principal.items():
            for end, angles in ends.items():
                some = angles.flip(0)[spread(0, len(angles), POINTS)]
                found[f"{end}_{side}"] = _rounded(torch.rad2deg(some))
        return found


def rounding_neighbour(matrix: Tensor, seed: int = 0) -> Tensor:
    """The matrix with every element moved at random within its bf16 rounding cell: (rows, cols), fp32.

    The drift to it is the floor: what rounding to bf16 alone looks like.
    """
    generator = torch.Generator().manual_seed(seed)
    # A little less than the cell, so that no sum is rounded to its edge.
    jitter = torch.rand(matrix.shape, generator=generator).sub_(0.5).mul_(1 - 2**-14).to(matrix.device)
    wide = matrix.float().contiguous()
    # The largest power of two in |w|, by fp32's bits of the exponent: a bf16 has seven further digits.
    power = wide.view(torch.int32).bitwise_and(0x7F800000).view(torch.float32)
    return power.mul_(jitter).mul_(2**-7).add_(wide)


def _chunks(tall: Tensor) -> list[slice]:
    height = chunk_rows(tall)
    return [slice(top, top + height) for top in range(0, len(tall), height)]


def _onto(factors: Factors, ranks: Ranks) -> Tensor:
    """What a tall matrix times this gives are its far vectors: (q, r); zeros where the value is null."""
    chosen = ranks.chosen.to(factors.values.device)
    values = factors.values[chosen]
    scaled = factors.vectors[:, chosen] / values.where(values > 0, torch.inf)
    return scaled if len(chosen) == ranks.count else scaled.float()


def _summary(degrees: Tensor) -> dict[str, float]:
    return {"k": len(degrees), "mean": degrees.mean().item(), "max": degrees.max().item()}


def _share(part: Tensor, whole: Tensor) -> float | None:
    return (part / whole).item() if whole > 0 else None


def _rounded(numbers: Tensor) -> tuple[float | None, ...]:
    """To five significant digits, as they are drawn; None for NaN."""
    return tuple(None if isnan(number) else float(f"{number:.5g}") for number in numbers.tolist())
