"""Drift from one checkpoint to one or several others, matrix by matrix, beside the floor of bf16 rounding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tqdm import tqdm

from points24.harness.checkpoints.read import FLOATS, Checkpoint
from points24.harness.drift.angles import compare, rounding_neighbour
from points24.harness.recovery.families.family import Family
from points24.harness.recovery.families.table import text_config
from points24.harness.recovery.plan import check_clear
from points24.tasks.errors import InputError


def drift(
    first: Checkpoint, others: Sequence[Checkpoint], family: Family, device: torch.device
) -> list[dict[str, Any]]:
    """Compare every matrix inside the layers of the first checkpoint with each other one's.

    Returns:
        For each matrix and each other checkpoint: `step` (the checkpoint's place among the others, from 0),
        `tensor`, `module`, `layer`, `shape`, the facts of `compare`, and under `floor` the same facts for
        rounding to bf16 alone.

    Raises:
        InputError: NaN or Inf in a weight, or no matrix belongs to a layer.
    """
    config = text_config(first.config)
    rows = []
    for name in tqdm(first.tensors, "drift", unit="tensor", disable=None):
        stored = first.tensors[name]
        check_clear(first, name, family)
        parts = [p for p in family.parts(name, stored.shape, config) if p.layer is not None]
        if not parts or stored.dtype not in FLOATS:
            continue
        ours = first.read(name)
        for part in parts:
            a = part.matrix(ours).to(device)
            try:
                floor = compare(a, rounding_neighbour(a))
                for step, other in enumerate(others):
                    b = part.matrix(other.read(name)).to(device)
                    place = {"step": step, "tensor": name, "module": part.module, "layer": part.layer}
                    rows.append(place | {"shape": list(a.shape)} | compare(a, b) | {"floor": floor})
            except ValueError as e:
                raise InputError(f"{name}: {e}") from e
    if not rows:
        raise InputError(f"{first.folder}: no matrix belongs to a layer; give --layer-prefix")
    return rows
