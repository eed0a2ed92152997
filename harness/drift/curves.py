"""Drift rank by rank: what ``curves.json`` holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from statistics import fmean
from typing import Any

from pydantic.dataclasses import dataclass

from points24.tasks.validation import STRICT_CONFIG

Points = tuple[float | None, ...]
"""None where it is not defined: a null singular value has no direction."""


@dataclass(frozen=True, config=STRICT_CONFIG, kw_only=True)
class Curve:
    """One module of one layer; of several such matrices (experts) the mean."""

    step: int | None
    """The checkpoint's place among the others, from 0; None is rounding to bf16 alone."""
    module: str
    layer: int
    count: int
    """How many ranks there are."""
    ranks: tuple[int, ...]
    """Those of the points."""
    ratio: Points
    """The other checkpoint's singular value over the first one's, at these ranks."""
    left: Points
    """Angle between both left singular vectors, in degrees, at these ranks."""
    right: Points
    """Likewise of right vectors."""
    head_left: Points
    """Principal angles between the subspaces of the leading 10 % of left vectors, in degrees, ascending."""
    head_right: Points
    tail_left: Points
    """Likewise of the trailing 10 %."""
    tail_right: Points


LINES = ("ratio", "left", "right", "head_left", "head_right", "tail_left", "tail_right")


def averaged(curves: Iterable[Curve]) -> list[Curve]:
    """The mean curve of each module of each layer at each step."""
    groups: dict[tuple[Any, ...], list[Curve]] = {}
    for curve in curves:
        groups.setdefault((curve.step, curve.layer, curve.module, curve.count), []).append(curve)
    return [
        replace(mine[0], **{name: _mean([getattr(each, name) for each in mine]) for name in LINES})
        for mine in groups.values()
    ]


def as_json(curve: Curve) -> dict[str, Any]:
    return asdict(curve)


def _mean(lines: list[Points]) -> Points:
    return tuple(
        fmean(known) if (known := [x for x in points if x is not None]) else None
        for points in zip(*lines, strict=True)
    )
