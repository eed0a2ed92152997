"""Drift from one checkpoint to one or several others, matrix by matrix, beside the floor of bf16 rounding."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from tqdm import tqdm

from points24.harness.checkpoints.read import FLOATS, Checkpoint
from points24.harness.drift.curves import Curve
from points24.harness.drift.matrices import First, rounding_neighbour
from points24.harness.recovery.families.family import Family
from points24.harness.recovery.families.table import text_config
from points24.harness.recovery.plan import check_clear
from points24.tasks.errors import InputError


def drift(
    first: Checkpoint, others: Sequence[Checkpoint], family: Family, device: torch.device
) -> tuple[list[dict[str, Any]], list[Curve]]:
    """Compare every matrix inside the layers of the first checkpoint with each other one's.

    The first one's matrices are factorised once, one at a time.

    Returns:
        For each matrix and each other checkpoint: `step` (the checkpoint's place among the others, from 0),
        `tensor`, `module`, `layer`, `shape`, the facts of `First.to`, and under `floor` the same facts for
        rounding to bf16 alone. And likewise the curves.

    Raises:
        InputError: NaN or Inf in a weight, or no matrix belongs to a layer.
    """
    config = text_config(first.config)
    rows: list[dict[str, Any]] = []
    curves: list[Curve] = []
    layers = {family.layer(name) for name in first.tensors} - {None}
    begun: set[int] = set()
    for name in tqdm(first.tensors, "drift", unit="tensor", disable=None):
        stored = first.tensors[name]
        check_clear(first, name, family)
        layer, parts = family.layer(name), family.parts(name, stored.shape, config)
        if layer is None or not parts or stored.dtype not in FLOATS:
            continue
        if layer not in begun and not sys.stderr.isatty():
            begun.add(layer)
            print(f"points24: drift: layer {layer}, {len(begun)} of {len(layers)}", file=sys.stderr)
        ours = first.read(name)
        # Read once where it holds several matrices, and not held where it is one.
        theirs = [other.read(name) for other in others] if len(parts) > 1 else ()
        for part in parts:
            place = {"tensor": name, "module": part.module, "layer": layer}
            try:
                start = First.of(part.matrix(ours).to(device))
                floor, curve = start.to(rounding_neighbour(start.matrix))
                curves.append(Curve(step=None, module=part.module, layer=layer, **curve))
                for step, other in enumerate(others):
                    tensor = theirs[step] if theirs else other.read(name)
                    facts, curve = start.to(part.matrix(tensor).to(device))
                    shape = {"shape": list(start.matrix.shape)}
                    rows.append({"step": step} | place | shape | facts | {"floor": floor})
                    curves.append(Curve(step=step, module=part.module, layer=layer, **curve))
            except ValueError as e:
                raise InputError(f"{name}: {e}") from e
    if not rows:
        raise InputError(f"{first.folder}: no matrix belongs to a layer; give --layer-prefix")
    return rows, curves
