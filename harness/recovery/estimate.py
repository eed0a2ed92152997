"""What a recovery would change and write, from shapes alone."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import NamedTuple

from points24.harness.checkpoints.opening import read_config
from points24.harness.checkpoints.read import Checkpoint, StoredTensor
from points24.harness.recovery.plan import Plan


class Cost(NamedTuple):
    matrices: int
    """Matrices to factorise, in the source and in the target."""
    tensors: int
    """Tensors that are replaced as a whole."""
    kept: int
    """Tensors that stay the target's."""
    disk: int
    """Bytes of the output's weights."""


def estimate(plan: Plan, target: Checkpoint, itemsize: int | None = None) -> Cost:
    """The cost of a plan; `itemsize`: bytes of an element of the output, by default as in the target."""
    weights = sum(prod(s.shape) * itemsize if itemsize else s.stop - s.start for s in target.tensors.values())
    matrices = sum(len(parts) for parts in plan.matrices.values())
    return Cost(matrices, len(plan.whole), len(plan.skipped), weights * len(plan.recipes))


def checkpoint_from_config(folder: Path) -> Checkpoint:
    """The tensors that a config.json describes, for an estimate without weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    from points24.harness.checkpoints.pretrained import from_config, from_pretrained

    config = read_config(folder)
    kind_of_model = AutoModelForImageTextToText if "vision_config" in config else AutoModelForCausalLM
    with torch.device("meta"):
        model = from_config(kind_of_model, from_pretrained(AutoConfig, folder))
    is_wide = config.get("dtype", config.get("torch_dtype")) == "float32"
    kind, itemsize = ("F32", 4) if is_wide else ("BF16", 2)
    tied = (getattr(model, "_tied_weights_keys", None) or ()) if config.get("tie_word_embeddings") else ()
    tensors = {
        name: StoredTensor(kind, tuple(tensor.shape), "", 0, tensor.numel() * itemsize)
        for name, tensor in model.state_dict().items()
        if name not in tied
    }
    return Checkpoint(folder, config, tensors, (), {})
