"""Singular values and the short side's singular vectors of a matrix, in fp64, from its Gram matrix.

With W = U S Vᵀ oriented so that it is at least as tall as wide, WᵀW = V S² Vᵀ. Everything here needs only
S and V, because U S = W V, so U is never formed. The Gram matrix is summed over chunks of rows, so beside
the matrix itself only square matrices of its short side are ever held. fp32 would not do: squaring halves
the digits and loses the tail.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

NULL = 1e-7
"""Singular values below this share of the largest count as zero: the square root of fp64's precision, with
a margin. Their directions are arbitrary."""

_CHUNK = 2**18
"""Elements in a chunk of rows: 2 MiB in fp64, which stays in a core's cache."""
_CHUNK_GPU = 2**26
_BLOCK = 256
"""Columns of the Gram matrix that are summed at once."""


class Factors(NamedTuple):
    values: Tensor
    """(q,), fp64, descending; exactly 0 below `NULL` of the first."""
    vectors: Tensor
    """(q, q), fp64: column i belongs to values[i]."""

    @property
    def null(self) -> int:
        """How many directions are arbitrary."""
        return int((self.values == 0).sum())


def orient(matrix: Tensor) -> Tensor:
    """The matrix, or its transpose, such that rows >= columns."""
    return matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T


def row_chunks(matrix: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(first row, rows) one after the other, in fp64."""
    rows = max(64, (_CHUNK_GPU if matrix.is_cuda else _CHUNK) // matrix.shape[1])
    for start in range(0, matrix.shape[0], rows):
        yield start, matrix[start : start + rows].double()


def gram(matrix: Tensor) -> Tensor:
    """WᵀW of an oriented (m, q) matrix: (q, q), fp64, of which only the lower triangle is filled.

    Raises:
        ValueError: an element is NaN or infinite. (eigh would return NaN without a word.)
    """
    total = torch.zeros(matrix.shape[1], matrix.shape[1], dtype=torch.float64, device=matrix.device)
    for _, rows in row_chunks(matrix):
        for i in range(0, matrix.shape[1], _BLOCK):  # the blocks on and below the diagonal: half the work
            total[i:, i : i + _BLOCK].addmm_(rows[:, i:].T, rows[:, i : i + _BLOCK])
    # A non-finite element makes its own diagonal entry non-finite; so do finite ones whose square overflows.
    if not torch.isfinite(total.diagonal()).all():
        raise ValueError("NaN, infinite or overflowing elements")
    return total


def factorise(matrix: Tensor) -> Factors:
    """Factors of a (rows, cols) matrix of any real dtype, on its device.

    Raises:
        ValueError: an element is NaN or infinite.
    """
    squares, vectors = torch.linalg.eigh(gram(orient(matrix)), UPLO="L")
    values = squares.flip(0).clamp_min_(0).sqrt_()
    values[values <= NULL * values[0]] = 0
    return Factors(values, vectors.flip(1).contiguous())
