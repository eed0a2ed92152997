"""Singular values and the short side's singular vectors of a matrix, in fp64, from its Gram matrix.

With W = U S Vᵀ oriented so that it is at least as tall as wide, WᵀW = V S² Vᵀ. U is never formed: U S = W V,
so S and V are enough. The Gram matrix is summed over chunks of rows, so besides the matrix itself memory
holds only square matrices of its short side. fp32 would not do: squaring halves the digits and loses the
tail.

On a CPU, scipy gives access to BLAS and LAPACK routines that torch does not offer: a product known to be
symmetric (0.07 s for 3584 x 1024 on one thread, 0.16 s as a general product), and all eigenvalues with the
vectors of some ranks from one reduction to tridiagonal form (0.10 s for a fifth of 1024, 0.14 s for all;
torch.linalg.eigh: 0.18 s). ``python -m tests.benchmarks.spectral factors`` measures these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from points24.harness.recovery.specs import Interval

# Filled at run time, where no type checker sees it.
blas: Any = scipy.linalg.blas
lapack: Any = scipy.linalg.lapack

NULL = 1e-7
"""Singular values below this share of the largest count as zero: the square root of fp64's precision, with
a margin. Their directions are arbitrary."""

_CHUNK = 2**18
"""Elements in a chunk of rows: 2 MiB in fp64, which stays in a core's cache."""
_CHUNK_GPU = 2**26


class Factors(NamedTuple):
    values: Tensor
    """(q,), fp64, descending; exactly 0 below `NULL` of the first."""
    vectors: Tensor
    """(q, k), fp64: column i belongs to values[first + i]."""
    first: int = 0

    @property
    def null(self) -> int:
        """How many directions are arbitrary."""
        return int((self.values == 0).sum())

    def directions(self, start: int, stop: int) -> Tensor:
        """The vectors of ranks start to stop - 1, which must be among those held: (q, stop - start)."""
        return self.vectors[:, start - self.first : stop - self.first]


Factorise = Callable[[Tensor, Interval], Factors]
"""(matrix, ranks whose vectors are wanted) -> its factors, with at least these vectors."""


def orient(matrix: Tensor) -> Tensor:
    """The matrix, or its transpose, such that rows >= columns."""
    return matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T


def chunk_rows(matrix: Tensor) -> int:
    """How many rows of a matrix are worked on at once."""
    return max(64, (_CHUNK_GPU if matrix.is_cuda else _CHUNK) // matrix.shape[1])


def row_chunks(matrix: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(number of the first row, rows) for each chunk, in fp64, contiguous."""
    count = chunk_rows(matrix)
    for start in range(0, matrix.shape[0], count):
        yield start, matrix[start : start + count].contiguous().double()


def gram(matrix: Tensor) -> Tensor:
    """WᵀW of an oriented (m, q) matrix: (q, q), fp64, valid in the lower triangle only.

    Raises:
        ValueError: an element is NaN or infinite. (eigh would silently return NaN.)
    """
    q = matrix.shape[1]
    if matrix.is_cuda:
        total = torch.zeros(q, q, dtype=torch.float64, device=matrix.device)
        for _, rows in row_chunks(matrix):
            total.addmm_(rows.T, rows)
    else:
        squares = np.zeros((q, q), order="F")
        for _, rows in row_chunks(matrix):
            blas.dsyrk(1.0, rows.numpy().T, beta=1.0, c=squares, lower=1, overwrite_c=1)
        total = torch.from_numpy(squares)
    # A non-finite element makes its diagonal entry non-finite; so does a finite one whose square overflows.
    if not torch.isfinite(total.diagonal()).all():
        raise ValueError("NaN, infinite or overflowing elements")
    return total


def factorise(matrix: Tensor, ranks: Interval | None = None) -> Factors:
    """Factors of a (rows, cols) matrix of any real dtype, on its device.

    Args:
        matrix: what to factorise
        ranks: whose vectors are wanted, possibly none; by default all. All values are returned in any case

    Raises:
        ValueError: an element is NaN or infinite.
    """
    start, stop = (0, min(matrix.shape)) if ranks is None else ranks
    squares, vectors = eigen(gram(orient(matrix)), (start, stop))
    values = squares.clamp_min_(0).sqrt_()
    values[values <= NULL * values[0]] = 0
    return Factors(values, vectors, start)


def eigen(symmetric: Tensor, ranks: Interval) -> tuple[Tensor, Tensor]:
    """Every eigenvalue, descending, and the eigenvectors of some ranks: (q,), (q, k).

    Args:
        symmetric: (q, q), fp64; only the lower triangle is read, and its memory is overwritten
        ranks: whose vectors are wanted, possibly none
    """
    # scipy has dstevd from 1.16 on, which wants Python 3.11.
    if symmetric.is_cuda or len(symmetric) == 1 or not hasattr(lapack, "dstevd"):
        return eigen_torch(symmetric, ranks)
    return _eigen_lapack(symmetric, ranks)


def eigen_torch(symmetric: Tensor, ranks: Interval) -> tuple[Tensor, Tensor]:
    """The same as `eigen`, on any device, by torch alone."""
    if ranks[0] == ranks[1]:
        return torch.linalg.eigvalsh(symmetric, UPLO="L").flip(0), symmetric.new_empty(len(symmetric), 0)
    values, vectors = torch.linalg.eigh(symmetric, UPLO="L")
    return values.flip(0), vectors.flip(1)[:, slice(*ranks)].clone()


def _eigen_lapack(symmetric: Tensor, ranks: Interval) -> tuple[Tensor, Tensor]:
    """The three steps of LAPACK's dsyevd, with the last one done only for the wanted vectors."""
    q = len(symmetric)
    lower = np.asfortranarray(symmetric.numpy())
    work, _ = lapack.dsytrd_lwork(q, lower=1)
    reduced, diagonal, beside, scales, _ = lapack.dsytrd(lower, lower=1, lwork=int(work), overwrite_a=1)
    if ranks[0] == ranks[1]:
        values, info = lapack.dsterf(diagonal, beside)
        vectors = np.empty((q, 0))
    else:
        values, inner, info = lapack.dstevd(diagonal, beside)  # ascending
        chosen = slice(q - ranks[1], q - ranks[0])
        first, others = inner[0, chosen].copy(), np.asfortranarray(inner[1:, chosen])
        del inner
        # The reflections leave the first row alone and are stored below the subdiagonal. Shifted by one
        # element, they are stored as those of a QR factorisation of the other rows.
        reflections = reduced.ravel(order="K")[1 : 1 + q * (q - 1)].reshape((q, q - 1), order="F")
        _, work, _ = lapack.dormqr("L", "N", reflections, scales, others, -1)
        others, _, _ = lapack.dormqr("L", "N", reflections, scales, others, int(work[0]), overwrite_c=1)
        vectors = np.concatenate([first[None, ::-1], others[:, ::-1]])
    if info:
        raise ValueError("the eigenvalues do not converge")
    return torch.from_numpy(values[::-1].copy()), torch.from_numpy(vectors)
