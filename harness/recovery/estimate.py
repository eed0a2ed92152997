"""What a recovery would change and write, from shapes alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

from points24.harness.checkpoints.folder import StoredTensor
from points24.harness.checkpoints.opening import open_checkpoint, read_config
from points24.harness.checkpoints.read import Checkpoint
from points24.harness.recovery.families.family import Family
from points24.harness.recovery.plan import Plan, check_pair, make_plan
from points24.harness.recovery.recipe import Recipe


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


def factors_bytes(plan: Plan, target: Checkpoint) -> dict[str, int]:
    """Tensor -> bytes of the factors of its matrices, of source and target, with all their vectors.

    That is, for the shorter side q of a matrix, q (q + 1) numbers in fp64.
    """
    return {
        name: sum(2 * 8 * q * (q + 1) for q in (min(p.shape(target.tensors[name].shape)) for p, _ in parts))
        for name, parts in plan.matrices.items()
    }


def plan_by_shapes(
    source: Path, target: Path, family: Family, recipes: Sequence[Recipe]
) -> tuple[Plan, Checkpoint]:
    """The plan and the target, from the headers of the weights, or config.json where there are none yet.

    Raises:
        InputError: see `open_checkpoint`, `check_pair` and `make_plan`.
    """
    theirs, ours = (
        open_checkpoint(folder) if any(folder.glob("*.safetensors*")) else checkpoint_from_config(folder)
        for folder in (source, target)
    )
    theirs = check_pair(theirs, ours, family)
    return make_plan(theirs, ours, family, recipes), ours


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
