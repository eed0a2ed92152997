"""What training needs in memory on each device.

Exact: weights, gradients, AdamW's two moments, the reference model, and how they are divided over processes.
Rough, within perhaps a third: activations, the head, generation, and what sharding gathers. Not counted: the
CUDA context (0.5 to 1 GiB), fragmentation, vLLM, and the scoring of a checkpoint, which loads another copy of
the model on the first device.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from points24.tasks.errors import InputError
from points24.trainers.dry_run.shape import ModelShape

ITEMSIZE = {"float32": 4, "bfloat16": 2, "float16": 2}
_HEAD_TILE = (4096, 32768)
"""Tokens and vocabulary entries of the piece of logits that TRL 1.16 holds at once; they are never whole."""


@dataclass(frozen=True)
class Memory:
    """Bytes on one device, at the step that needs most."""

    weights: int
    optimizer: int
    reference: int
    """The parent, beside the policy: where `beta` asks for it and no adapter can be switched off instead."""
    gradients: int
    working_copies: int
    """Weights in the dtype of the passes: all of them under autocast, those gathered where they are sharded;
    and the buckets in which plain data parallelism exchanges gradients."""
    activations: int
    head: int
    """The head's own gradient in fp32, and a piece of the logits."""
    generation: int
    """Keys and values of the episodes that are played at once. Not at the same time as the four before."""

    @property
    def total(self) -> int:
        passes = self.gradients + self.working_copies + self.activations + self.head
        return self.weights + self.optimizer + self.reference + max(passes, self.generation)


@dataclass(frozen=True)
class Sharding:
    """By how much weights, gradients and optimiser states are divided; 0 where they are kept on the CPU."""

    kind: str
    """``none``, ``FSDP`` or ``ZeRO-1`` to ``ZeRO-3``."""
    weights: int = 1
    gradients: int = 1
    optimizer: int = 1
    gathers_all: bool = False
    """Whether the whole model is gathered for a step, not one layer after the other."""


def sharding(config: Any) -> Sharding:
    """Read `fsdp` and `deepspeed`, for one device for each process.

    Raises:
        InputError: a DeepSpeed file that cannot be read.
    """
    processes = config.world_size
    if config.deepspeed:
        zero = deepspeed_settings(config.deepspeed).get("zero_optimization", {})
        stage = zero.get("stage", 0)
        on_cpu = {
            part: zero.get(f"offload_{part}", {}).get("device", "none") != "none"
            for part in ("optimizer", "param")
        }
        return Sharding(
            f"ZeRO-{stage}",
            weights=0 if on_cpu["param"] else processes if stage == 3 else 1,
            gradients=processes if stage >= 2 else 1,
            optimizer=0 if on_cpu["optimizer"] else processes if stage >= 1 else 1,
        )
    if config.fsdp:
        options = config.fsdp_config or {}
        share = 0 if options.get("cpu_offload") else processes
        return Sharding(
            "FSDP", share, share, share, gathers_all=not options.get("reshard_after_forward", True)
        )
    return Sharding("none")


def deepspeed_settings(deepspeed: dict[str, Any] | str) -> dict[str, Any]:
    """The settings themselves, or those in a JSON file."""
    if isinstance(deepspeed, dict):
        return deepspeed
    try:
        return json.loads(Path(deepspeed).read_text("utf-8"))
    except (OSError, ValueError) as e:
        raise InputError(f"deepspeed {deepspeed}: {' '.join(str(e).split())}") from e


def trained_parameters(shape: ModelShape, config: Any, lora: bool) -> int:
    """Those with gradients: adapter or model, and PPO's critic."""
    critic = shape.hidden + 1 if hasattr(config, "vf_coef") else 0
    return (shape.adapter(config.lora_r) if lora else shape.reached) + critic


def recomputes(config: Any) -> bool:
    """Whether activations are computed again in the backward pass instead of kept."""
    return bool(
        config.gradient_checkpointing
        or (config.fsdp and (config.fsdp_config or {}).get("activation_checkpointing"))
    )


def weights_itemsize(config: Any) -> int:
    """Bytes of a weight in training and in a checkpoint; for mixed precision FSDP makes them fp32."""
    return 4 if config.fsdp and (config.bf16 or config.fp16) else ITEMSIZE[config.dtype]


def memory(shape: ModelShape, config: Any, length: int, *, checkpointing: bool, lora: bool) -> Memory:
    """The parts, for one device.

    Args:
        shape: the model.
        config: an `SFTConfig` or a `PPOConfig`, built for the number of processes in question.
        length: tokens of the longest sequence of a batch, prompt included.
        checkpointing: recompute activations in the backward pass.
        lora: train an adapter.
    """
    mixed = bool(config.bf16 or config.fp16)
    itemsize = weights_itemsize(config)
    passes = 2 if mixed else itemsize
    shard = sharding(config)
    trained = trained_parameters(shape, config, lora)
    trained_itemsize = 4 if lora else itemsize  # peft keeps adapters in fp32
    moments = 2 * _moment_itemsize(config.optim, trained_itemsize)
    if shard.kind.startswith("ZeRO") and mixed:  # 16-bit weights and gradients, fp32 masters in the optimiser
        itemsize, trained_itemsize, moments = 2, 2, 4 + 2 * 4
    weights = shape.parameters * itemsize + (trained * trained_itemsize if lora else 0)

    if shard.weights != 1 and not shard.gathers_all:
        # Two layers (one is fetched ahead) and what is outside of layers, with their gradients.
        copies = 2 * passes * (2 * shape.layer + shape.outside_layers)
    elif shard.gathers_all:
        copies = passes * shape.parameters
    else:
        copies = passes * shape.reached if passes < itemsize else 0  # autocast keeps what it has cast
    if shard.kind == "none" and config.world_size > 1:
        copies += trained * trained_itemsize

    tokens = config.per_device_train_batch_size * length
    # Kept for the backward pass of one layer, per token: six vectors of the hidden width (norms, queries,
    # attention, projections), keys and values, four of the feed-forward, all in the dtype of the passes; and
    # four more hidden vectors in fp32, in which norms are computed. Attention scores are not kept (sdpa).
    one_layer = passes * (6 * shape.hidden + 2 * shape.keys + 4 * shape.intermediate) + 4 * 4 * shape.hidden
    kept = shape.layers * shape.hidden * itemsize + one_layer if checkpointing else shape.layers * one_layer
    head = tokens * shape.hidden * 4 + min(tokens, _HEAD_TILE[0]) * min(shape.vocab, _HEAD_TILE[1]) * passes
    if not lora:
        head += shape.vocab * shape.hidden * 4
    return Memory(
        weights=_share(weights, shard.weights),
        optimizer=_share(trained * moments, shard.optimizer),
        reference=_share(shape.parameters * itemsize, shard.weights) if _has_reference(config, lora) else 0,
        gradients=_share(trained * trained_itemsize, shard.gradients),
        working_copies=copies,
        activations=tokens * kept,
        head=head,
        generation=_generation(shape, config, length, itemsize if shard.weights == 1 else passes),
    )


def _generation(shape: ModelShape, config: Any, length: int, itemsize: int) -> int:
    if not hasattr(config, "episodes_per_rollout") or config.use_vllm:
        return 0
    episodes = -(-config.episodes_per_rollout // config.world_size)
    cached = 2 * shape.layers * shape.keys * length * itemsize
    return episodes * (cached + 2 * 4 * shape.vocab)  # and two sets of logits at the last position, in fp32


def _has_reference(config: Any, lora: bool) -> bool:
    return bool(getattr(config, "beta", 0)) and not lora


def _moment_itemsize(optim: Any, trained_itemsize: int) -> int:
    """Bytes of one of AdamW's moments, which have the dtype of their weight, but for the 8-bit variants."""
    return 1 if "8bit" in str(getattr(optim, "value", optim)) else trained_itemsize


def _share(size: int, divisor: int) -> int:
    return -(-size // divisor) if divisor else 0
