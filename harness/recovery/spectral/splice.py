"""Restore singular directions, or values, of a source matrix B in a target matrix T, at chosen ranks.

With B = Σ b_i p_i q_iᵀ and T = Σ t_i u_i v_iᵀ, the chosen ranks I of T become

    directions   t_i p_i q_iᵀ      B's directions, T's values
    values       b_i u_i v_iᵀ      T's directions, B's values
    both         b_i p_i q_iᵀ

and the others stay. Because b_i p_i = B q_i, no left vector is needed:

    W' = T + Σ_{i in I} w_i (x_i B q_i q_iᵀ + y_i T v_i v_iᵀ)

with (x, y) = (t/b, -1), (0, b/t - 1), (1, -1), and w_i = 1, or less within a taper. Restored and
kept bases are not orthogonal to each other, so W' has T's singular values only approximately; where the gap
between the singular values at a cut is small, the cut itself is not unique.

A direction whose singular value is null is arbitrary, so nothing may depend on it: it keeps T's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from points24.harness.recovery.specs import RESTORE, Cut, Interval, weights
from points24.harness.recovery.spectral.factors import Factors, chunk_rows, orient, row_chunks

_STRIP = 2**22
"""Elements of all results together that are held at once: 8 MiB in bf16."""

Put = Callable[[int, slice, slice, Tensor], None]
"""(number of the cut, rows, columns, the new values there): takes a part of a result."""


class Factored(NamedTuple):
    """A matrix of a pair."""

    matrix: Tensor
    """(rows, cols)"""
    factors: Factors


class Change(NamedTuple):
    edit: float
    """Frobenius norm of W' - T before rounding."""
    lost: float
    """Frobenius norm of what rounding to the wanted dtype took away."""


def wanted_ranks(cuts: Sequence[Cut], ranks: int) -> tuple[Interval, Interval]:
    """The ranks whose vectors `splice` needs, of source and target, as the smallest intervals."""
    return (
        _hull(_span(cut, ranks) for cut in cuts if cut.restore != "values"),
        _hull(_span(cut, ranks) for cut in cuts),
    )


def splice(
    source: Factored, target: Factored, cuts: Sequence[Cut], dtype: torch.dtype, put: Put
) -> list[Change]:
    """Make every cut of one pair of (rows, cols) matrices, in one pass over their rows.

    Hard cuts that restore the same share one running sum over the ranks, so many of them cost about as much
    as the widest alone. `put` is given the results strip by strip, except strips that equal the target's.
    The factors need the vectors of the `wanted_ranks`. `dtype` is that of the results.
    """
    b, t = orient(source.matrix), orient(target.matrix)
    turned = t is not target.matrix
    height = chunk_rows(t)
    height *= max(1, _STRIP // max(1, len(cuts) * height * t.shape[1]))
    norms = torch.zeros(len(cuts), 2, dtype=torch.float64)
    for top in range(0, len(t), height):
        rows = slice(top, min(top + height, len(t)))
        # In the order of the original matrix, so that a result is in memory as it will be in a file.
        shape = (rows.stop - top, t.shape[1])
        outputs = [torch.empty(shape[::-1] if turned else shape, dtype=dtype, device=t.device) for _ in cuts]
        # On the device until the strip's end: reading a number back would synchronise.
        squares = torch.zeros(len(cuts), 2, dtype=torch.float64, device=t.device)
        for (start, b_rows), (_, t_rows) in zip(row_chunks(b[rows]), row_chunks(t[rows]), strict=True):
            for i, edit in _edits(b_rows, t_rows, source.factors, target.factors, cuts):
                exact = t_rows + edit
                rounded = (outputs[i].T if turned else outputs[i])[start : start + len(t_rows)]
                rounded.copy_(exact)
                squares[i, 0] += torch.linalg.vector_norm(edit).square_()
                squares[i, 1] += torch.linalg.vector_norm(exact.sub_(rounded)).square_()
        squares = squares.cpu()
        norms += squares
        for i in squares[:, 0].nonzero().flatten().tolist():
            put(i, *((slice(None), rows) if turned else (rows, slice(None))), outputs[i])
    return [Change(*pair) for pair in norms.sqrt_().tolist()]


class _Side(NamedTuple):
    """Rows of one matrix of a pair, and the weight of each of its ranks in the sum."""

    rows: Tensor
    factors: Factors
    weight: Tensor
    """(q,)"""

    def add_to(self, total: Tensor, start: int, stop: int) -> None:
        """Add the sum over some ranks: for B, Σ x_i B q_i q_iᵀ."""
        vectors = self.factors.directions(start, stop)
        total.addmm_((self.rows @ vectors).mul_(self.weight[start:stop]), vectors.T)


def _edits(
    b: Tensor, t: Tensor, fb: Factors, ft: Factors, cuts: Sequence[Cut]
) -> Iterator[tuple[int, Tensor]]:
    """(number of a cut, W' - T) for the same rows of B and T: (rows, q), valid until the next is drawn."""
    for restore in RESTORE:
        x, y = _coefficients(restore, fb.values, ft.values)
        sides = [_Side(t, ft, y)] if restore == "values" else [_Side(b, fb, x), _Side(t, ft, y)]
        hard = {}
        for i, cut in ((i, cut) for i, cut in enumerate(cuts) if cut.restore == restore):
            if cut.taper:
                taper = x.new_tensor(weights(cut.intervals, len(x), cut.taper))
                edit = torch.zeros_like(t)
                for side in sides:
                    side._replace(weight=side.weight * taper).add_to(edit, *_span(cut, len(x)))
                yield i, edit
            elif _is_all_of_source(cut, len(x)):
                yield i, b - t  # exact, where the sum over the ranks would leave noise around zeros
            else:
                hard[i] = cut
        yield from _hard_edits(sides, hard)


def _hard_edits(sides: Sequence[_Side], cuts: Mapping[int, Cut]) -> Iterator[tuple[int, Tensor]]:
    """The same for cuts without a taper that restore the same, in one running sum over the ranks.

    For example, cut 0 wants ranks 0-2 and 8-9, cut 1 wants ranks 0-4. Their intervals end at 0, 3, 5, 8, 10.

        ranks    running sum    what happens at the end of the stretch
        0-2      S(0-2)         cut 0 sets it aside: its first interval is complete
        3-4      S(0-4)         cut 1 is complete: S(0-4)
        5-7      S(0-4)         no cut wants these ranks, so they are not summed
        8-9      S(0-4, 8-9)    cut 0 is complete: S(0-4, 8-9) - S(0-4), from before rank 8, + S(0-2)
    """
    intervals = {interval for cut in cuts.values() for interval in cut.intervals}
    first = min((start for start, _ in intervals), default=0)
    running = torch.zeros_like(sides[0].rows)  # over the ranks so far that any cut wants
    before: dict[int, Tensor] = {}  # cut -> the running sum where its present interval began, unless zero
    earlier: dict[int, Tensor] = {}  # cut -> the sum over its complete intervals
    for start, stop in pairwise(sorted({end for interval in intervals for end in interval})):
        for i, cut in cuts.items():
            if start > first and any(start == begin for begin, _ in cut.intervals):
                before[i] = running.clone()
        if any(begin <= start and stop <= end for begin, end in intervals):
            for side in sides:
                side.add_to(running, start, stop)
        for i, cut in cuts.items():
            if any(stop == end for _, end in cut.intervals):
                edit = running - before.pop(i) if i in before else running
                if i in earlier:
                    edit = edit + earlier.pop(i)
                if stop == cut.intervals[-1][1]:
                    yield i, edit
                else:
                    earlier[i] = edit.clone()


def _is_all_of_source(cut: Cut, ranks: int) -> bool:
    return cut.restore == "both" and not cut.taper and cut.intervals == ((0, ranks),)


def _span(cut: Cut, ranks: int) -> Interval:
    """The smallest interval with every rank that a cut weighs; an empty one where all of B is taken."""
    if _is_all_of_source(cut, ranks):
        return 0, 0
    return max(0, cut.intervals[0][0] - cut.taper), min(ranks, cut.intervals[-1][1] + cut.taper)


def _hull(intervals: Iterable[Interval]) -> Interval:
    """The smallest interval around several."""
    some = [interval for interval in intervals if interval[0] < interval[1]]
    return min((start for start, _ in some), default=0), max((stop for _, stop in some), default=0)


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
