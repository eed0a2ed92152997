"""What `ties`, `dare` and `della` share: the task vectors T - B and S - B are made sparse, then merged."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from points24.harness.recovery.methods.method import (
    Tensor,
    Versions,
    Weighted,
    about,
    number,
    parse_positive,
    parse_weight,
)


def parse_density(value: str | float) -> float:
    """A number in (0, 1].

    Raises:
        InputError: anything else.
    """
    return number(value, "density", "a number in (0, 1]", lambda x: 0 < x <= 1)


def parse_seed(value: str | int) -> int:
    """A whole number from 0.

    Raises:
        InputError: anything else.
    """
    return int(number(value, "seed", "a whole number from 0", lambda x: x >= 0 and x == int(x)))


DENSITY = about(
    "the share of each task vector that is kept", parse_density, float | int, "in (0, 1], such as 0.5"
)
SEED = about("of what is dropped (default 0)", parse_seed, int)
SCALE = about("of the merged task vector, λ (default 1)", parse_positive, float | int)


@dataclass(frozen=True, kw_only=True)
class SparseMerge(Weighted):
    """A merge of two sparse task vectors."""

    needs_base: ClassVar[bool] = True

    weight: float = field(
        default=1.0,
        metadata=about(
            "of the source; with a base of its task vector, beside the target's 1 (default)",
            parse_weight,
            float | int,
        ),
    )
    density: float = field(metadata=DENSITY)


def both(of: Versions) -> tuple[Tensor, Tensor]:
    """The task vectors of target and source."""
    return of.target - of.base, of.source - of.base


def elected(vectors: Sequence[Tensor], weights: Sequence[float], *, mean: bool) -> Tensor:
    """The sum of what agrees in sign with the weighted sum of all, element by element (TIES, step 2 and 3).

    With `mean`, the weighted mean of those that agree. A sum of exactly 0 counts as positive, as in mergekit.
    """
    weighted = [vector * weight for vector, weight in zip(vectors, weights, strict=True)]
    positive = sum(weighted[1:], start=weighted[0]) >= 0
    agree = [(vector > 0) & positive | (vector < 0) & ~positive for vector in weighted]
    merged: Tensor = sum(vector * those for vector, those in zip(weighted, agree, strict=True))
    if not mean:
        return merged
    divisor: Tensor = sum(those.double() * weight for those, weight in zip(agree, weights, strict=True))
    return merged / divisor.masked_fill(divisor == 0, 1)


def uniform(like: Tensor, seed: int, name: str, whose: str) -> Tensor:
    """Numbers in [0, 1), as many as a tensor has elements and in its shape, fp64.

    They depend on nothing but the seed, the tensor's name and shape, and whose task vector it is: the stream
    is numpy's Philox under a key from their SHA-256. So neither the order of tensors, nor threads, nor other
    recipes change a mask.
    """
    import numpy as np

    digest = hashlib.sha256(f"{seed} {whose} {name}".encode()).digest()
    stream = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
    return like.new_tensor(stream.random(tuple(like.shape)))
