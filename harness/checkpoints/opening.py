"""Opening what a user gives: a model's folder, or an adapter's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from points24.harness.checkpoints.adapter import merged_with
from points24.harness.checkpoints.locate import base_of, is_adapter
from points24.harness.checkpoints.read import Checkpoint, open_model, read_model_config


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a folder, or of an adapter's base.

    Raises:
        InputError: see `read_model_config` and `base_of`.
    """
    return read_model_config(base_of(folder) if is_adapter(folder) else folder)


def open_checkpoint(folder: Path) -> Checkpoint:
    """A folder's checkpoint; an adapter's is its base with the adapter merged in as tensors are read.

    Raises:
        InputError: see `open_model`, `base_of` and `merged_with`.
    """
    return merged_with(open_model(base_of(folder)), folder) if is_adapter(folder) else open_model(folder)
