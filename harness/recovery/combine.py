"""Tensors that combinations make, and what they did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from points24.harness.recovery.methods.method import Combination, Method, Versions
from points24.tasks.errors import InputError


def combined(read: Callable[[], Versions], methods: Mapping[int, Method]) -> dict[int, Tensor]:
    """What the combinations among methods make of a tensor, by the recipe's number; `read` reads it.

    Raises:
        InputError: NaN or infinite elements.
    """
    combinations = {i: how for i, how in methods.items() if isinstance(how, Combination)}
    if not combinations:
        return {}
    versions = read()
    made = {i: how.new_tensor(versions) for i, how in combinations.items()}
    for tensor in made.values():
        if not torch.isfinite(tensor).all():
            raise InputError(f"{versions.name}: NaN or infinite elements")
    return made


def facts_about(source: Tensor, target: Tensor, exact: Tensor, rounded: Tensor) -> dict[str, Any]:
    """How far a tensor or matrix went: Frobenius norms, in fp64, and what rounding took."""
    exact, target, norm = exact.double(), target.double(), torch.linalg.vector_norm
    distance, edit = norm(target - source).item(), norm(exact - target).item()
    return {
        "shape": list(target.shape),
        "target_norm": norm(target).item(),
        "distance": distance,
        "edit": edit,
        "edit_of_distance": edit / distance if distance else 0.0,
        "lost_to_rounding": norm(exact - rounded).item() / edit if edit else 0.0,
    }
