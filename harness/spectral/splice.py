"""Put singular directions, or values, of a source matrix B into a target matrix T, at chosen ranks.

With B = Σ b_i p_i q_iᵀ and T = Σ t_i u_i v_iᵀ, the chosen ranks I of T become

    directions   t_i p_i q_iᵀ      B's directions, T's values
    values       b_i u_i v_iᵀ      T's directions, B's values
    both         b_i p_i q_iᵀ

and the others stay. Because b_i p_i = B q_i, no left vector is needed:

    W' = T + Σ_{i in I} w_i (x_i B q_i q_iᵀ + y_i T v_i v_iᵀ)

with (x, y) = (t/b, -1), (0, b/t - 1), (1, -1), and w_i = 1, or less within a taper. The bases that result
are not orthogonal to each other at a cut, so W' has T's singular values only approximately; where the gap
between the singular values at a cut is small, the cut itself is not unique.

A direction whose singular value is null is arbitrary, so nothing may depend on it: it keeps T's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from points24.harness.spectral.factors import Factors, orient, row_chunks
from points24.harness.spectral.specs import Interval, weights

RESTORE = ("directions", "values", "both")


class Cut(NamedTuple):
    """What to restore in one matrix."""

    restore: str
    intervals: tuple[Interval, ...]
    taper: int = 0
    """Ranks over which a cut is spread; 0 is a hard cut."""


class Factored(NamedTuple):
    """A matrix of a pair."""

    matrix: Tensor
    """(rows, cols)"""
    factors: Factors


class Spliced(NamedTuple):
    matrix: Tensor
    """(rows, cols), in the wanted dtype."""
    edit: float
    """Frobenius norm of W' - T before rounding."""
    lost: float
    """Frobenius norm of what rounding to the wanted dtype took away."""


def splice(source: Factored, target: Factored, cuts: Sequence[Cut], dtype: torch.dtype) -> list[Spliced]:
    """Every cut of one pair of (rows, cols) matrices, in one pass over their rows.

    Hard cuts that restore the same share one running sum over the ranks, so many cost about as much as the
    widest of them alone.
    """
    b, t = orient(source.matrix), orient(target.matrix)
    outputs = [torch.empty(target.matrix.shape, dtype=dtype, device=t.device) for _ in cuts]
    # On the device until the end: reading a number back would wait for it, chunk after chunk.
    squares = torch.zeros(len(cuts), 2, dtype=torch.float64, device=t.device)
    for start, t_rows in row_chunks(t):
        b_rows = b[start : start + len(t_rows)].double()
        edits = _edits(b_rows, t_rows, source.factors, target.factors, cuts)
        for cut, (edit, output) in enumerate(zip(edits, outputs, strict=True)):
            exact = t_rows + edit
            rounded = orient(output)[start : start + len(t_rows)]
            rounded.copy_(exact)
            squares[cut, 0] += torch.linalg.vector_norm(edit).square_()
            squares[cut, 1] += torch.linalg.vector_norm(exact.sub_(rounded)).square_()
    norms = squares.sqrt_().tolist()
    return [Spliced(output, *norm) for output, norm in zip(outputs, norms, strict=True)]


def _edits(b: Tensor, t: Tensor, fb: Factors, ft: Factors, cuts: Sequence[Cut]) -> list[Tensor]:
    """W' - T for the same rows of B and T, each (rows, q), one for each cut."""
    edits = [torch.zeros_like(t) for _ in cuts]
    for restore in RESTORE:
        mine = [i for i, cut in enumerate(cuts) if cut.restore == restore]
        x, y = _coefficients(restore, fb.values, ft.values)

        def add(total: Tensor, ranks: slice, x: Tensor, y: Tensor, restore: str = restore) -> None:
            """Add the sum over some ranks to `total`."""
            if restore != "values":
                q = fb.vectors[:, ranks]
                total.addmm_((b @ q).mul_(x[ranks]), q.T)
            v = ft.vectors[:, ranks]
            total.addmm_((t @ v).mul_(y[ranks]), v.T)

        for i in mine:
            if cuts[i].taper:
                w = x.new_tensor(weights(cuts[i].intervals, len(x), cuts[i].taper))
                add(edits[i], slice(None), x * w, y * w)
        hard = [i for i in mine if not cuts[i].taper]
        if restore == "both":  # all of B: said so, it is exact where the sum would leave noise around zeros
            for i in (i for i in hard if cuts[i].intervals == ((0, len(x)),)):
                torch.sub(b, t, out=edits[i])
            hard = [i for i in hard if cuts[i].intervals != ((0, len(x)),)]
        ends = sorted({end for i in hard for interval in cuts[i].intervals for end in interval})
        running = torch.zeros_like(t)  # the sum over the ranks before `end` that any cut wants
        for before, end in zip([0, *ends], ends, strict=False):
            if any(s <= before and end <= e for i in hard for s, e in cuts[i].intervals):
                add(running, slice(before, end), x, y)
            for i in hard:
                for start, stop in cuts[i].intervals:
                    if stop == end:
                        edits[i] += running
                    if start == end:
                        edits[i] -= running
    return edits


def _coefficients(restore: str, b: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """(x, y) of the formula above, each (q,); (0, 0) where an arbitrary direction would matter."""
    one = torch.ones_like(t)
    if restore == "both":  # b_i p_i and t_i u_i vanish with their values, whatever the direction
        return one, -one
    safe_b, safe_t = torch.where(b > 0, b, one), torch.where(t > 0, t, one)
    if restore == "directions":
        defined = ((b > 0) & (t > 0)).to(t)
        return defined * t / safe_b, -defined
    return torch.zeros_like(t), (t > 0).to(t) * (b / safe_t - 1)


def splice_compat(source: Tensor, target: Tensor, cut: Cut, dtype: torch.dtype) -> Spliced:
    """What the paper's scripts do, their flaws included: for comparison only.

    Two full SVDs in fp32; and when every rank is chosen the source is returned as it is, whatever was to be
    restored, values included.
    """
    b, t = source.float(), target.float()
    ranks = min(t.shape)
    if cut.intervals == ((0, ranks),):
        result = b
    else:
        u, s, vh = torch.linalg.svd(t, full_matrices=False)
        ub, sb, vbh = torch.linalg.svd(b, full_matrices=False)
        for start, stop in cut.intervals:
            if cut.restore != "values":
                u[:, start:stop], vh[start:stop] = ub[:, start:stop], vbh[start:stop]
            if cut.restore != "directions":
                s[start:stop] = sb[start:stop]
        result = (u * s) @ vh
    rounded = result.to(dtype)
    norm = torch.linalg.vector_norm
    return Spliced(rounded, norm(result.double() - t).item(), norm(result.double() - rounded).item())
