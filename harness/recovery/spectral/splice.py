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
    sums = list(_sums(source, target, cuts))
    for top in range(0, len(t), height):
        rows = slice(top, min(top + height, len(t)))
        # In the order of the original matrix, so that a result is in memory as it will be in a file.
        shape = (rows.stop - top, t.shape[1])
        outputs = [torch.empty(shape[::-1] if turned else shape, dtype=dtype, device=t.device) for _ in cuts]
        # On the device until the strip's end: reading a number back would synchronise.
        squares = torch.zeros(len(cuts), 2, dtype=torch.float64, device=t.device)
        for (start, b_rows), (_, t_rows) in zip(row_chunks(b[rows]), row_chunks(t[rows]), strict=True):
            for i, edit in _edits(b_rows, t_rows, cuts, sums):
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


class _Terms:
    """The terms of one matrix of a pair, one for each rank: w_i B q_i q_iᵀ, or likewise of T."""

    def __init__(self, factors: Factors, weight: Tensor, height: int):
        """`weight`: (q,); `height`: rows of the whole matrix, which has q columns."""
        self._factors, self._weight, self._height = factors, weight, height
        self._squares: dict[Interval, Tensor] = {}
        """Ranks -> Σ w_i q_i q_iᵀ, (q, q)."""
        self._kept: Tensor | None = None
        if factors.vectors.shape[1] == len(weight) and bool((weight * (weight + 1) == 0).all()):
            self._kept = factors.vectors[:, weight == 0]

    def add_to(self, total: Tensor, rows: Tensor, start: int, stop: int) -> None:
        """Add the terms of some ranks, for some rows of the matrix: (count, q) each."""
        ranks, wanted = len(self._weight), stop - start
        if self._kept is not None and wanted == ranks:  # Σ q_i q_iᵀ is the identity
            total.sub_(rows).addmm_(rows @ self._kept, self._kept.T)
            return
        vectors, weight = self._factors.directions(start, stop), self._weight[start:stop]
        if 2 * self._height * wanted <= ranks * (self._height + wanted):
            total.addmm_((rows @ vectors).mul_(weight), vectors.T)
            return
        if (start, stop) not in self._squares:
            self._squares[start, stop] = (vectors * weight) @ vectors.T
        total.addmm_(rows, self._squares[start, stop])


class _Sum(NamedTuple):
    """Hard cuts whose edits are partial sums of the same terms."""

    cuts: Mapping[int, Cut]
    source: _Terms | None
    target: _Terms


def _sums(source: Factored, target: Factored, cuts: Sequence[Cut]) -> Iterator[_Sum]:
    """The sums that the edits of these cuts, by their numbers, are parts of."""
    fb, ft, height = source.factors, target.factors, max(target.matrix.shape)

    def sum_of(numbers: Iterable[int], taper: Tensor | float, intervals: Interval | None = None) -> _Sum:
        chosen = {i: cuts[i]._replace(intervals=(intervals,)) if intervals else cuts[i] for i in numbers}
        of_source = None if restore == "values" else _Terms(fb, x * taper, height)
        return _Sum(chosen, of_source, _Terms(ft, y * taper, height))

    for restore in RESTORE:
        x, y = _coefficients(restore, fb.values, ft.values)
        mine = {i: cut for i, cut in enumerate(cuts) if cut.restore == restore}
        hard = [i for i, cut in mine.items() if not cut.taper and not _is_all_of_source(cut, len(x))]
        if hard:
            yield sum_of(hard, 1.0)
        for i, cut in mine.items():
            if cut.taper:
                taper = x.new_tensor(weights(cut.intervals, len(x), cut.taper))
                yield sum_of([i], taper, _span(cut, len(x)))


def _edits(b: Tensor, t: Tensor, cuts: Sequence[Cut], sums: Sequence[_Sum]) -> Iterator[tuple[int, Tensor]]:
    """(number of a cut, W' - T) for the same rows of B and T: (count, q), valid until the next is drawn."""
    for i, cut in enumerate(cuts):
        if _is_all_of_source(cut, t.shape[1]):
            yield i, b - t  # exact, where the sum over the ranks would leave noise around zeros
    for each in sums:
        yield from _partial_sums(b, t, each)


def _partial_sums(b: Tensor, t: Tensor, total: _Sum) -> Iterator[tuple[int, Tensor]]:
    """The same for the cuts of one sum, which runs over the ranks once.

    For example, cut 0 wants ranks 0-2 and 8-9, cut 1 wants ranks 0-4. Their intervals end at 0, 3, 5, 8, 10.

        ranks    running sum    what happens at the end of the stretch
        0-2      S(0-2)         cut 0 sets it aside: its first interval is complete
        3-4      S(0-4)         cut 1 is complete: S(0-4)
        5-7      S(0-4)         no cut wants these ranks, so they are not summed
        8-9      S(0-4, 8-9)    cut 0 is complete: S(0-4, 8-9) - S(0-4), from before rank 8, + S(0-2)
    """
    cuts = total.cuts
    intervals = {interval for cut in cuts.values() for interval in cut.intervals}
    first = min((start for start, _ in intervals), default=0)
    running = torch.zeros_like(t)  # over the ranks so far that any cut wants
    before: dict[int, Tensor] = {}  # cut -> the running sum where its present interval began, unless zero
    earlier: dict[int, Tensor] = {}  # cut -> the sum over its complete intervals
    for start, stop in pairwise(sorted({end for interval in intervals for end in interval})):
        for i, cut in cuts.items():
            if start > first and any(start == begin for begin, _ in cut.intervals):
                before[i] = running.clone()
        if any(begin <= start and stop <= end for begin, end in intervals):
            if total.source is not None:
                total.source.add_to(running, b, start, stop)
            total.target.add_to(running, t, start, stop)
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
