"""What a training run will do, write and need: worked out from its configuration and the model's shape."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from points24.tasks.hand_sets import hand_set
from points24.trainers.dry_run.memory import (
    ITEMSIZE,
    Memory,
    Sharding,
    memory,
    recomputes,
    sharding,
    trained_parameters,
    weights_itemsize,
)
from points24.trainers.dry_run.shape import ModelShape

if TYPE_CHECKING:
    from points24.trainers.ppo import PPOConfig
    from points24.trainers.sft import SFTConfig

_STATES = 3
"""States for resuming that are on the disk at once: two are kept, and the third is there before one goes."""


@dataclass(frozen=True)
class Lengths:
    """Tokens of a row."""

    prompt: float
    """Mean of the prompt."""
    reply: float
    """Mean of an SFT reply with its end-of-sequence token; what a PPO reply may have at most."""
    longest: int
    """Of the longest row: prompt and reply, or prompt and a whole dialogue."""
    measured: bool
    """False where no tokenizer was at hand and three characters were taken for a token."""


@dataclass(frozen=True)
class SFTWork:
    steps: int
    rows: int
    rows_per_step: int
    epochs: float
    """Times that the drawn rows are gone through."""
    hands: int
    """Distinct hands to draw from."""
    passes: float
    """Times that every hand is met (every solution of every hand, where `solutions` is ``all``)."""
    tokens: int | None
    """Prompt and reply, without padding; None without a tokenizer."""
    trained_tokens: int | None


@dataclass(frozen=True)
class PPOWork:
    steps: int
    steps_per_rollout: int
    rollouts: int
    episodes: int
    """Deals played, over all rollouts and processes."""
    hands: int
    passes: float
    replies_at_most: int
    generated_tokens_at_most: int
    trained_tokens_at_most: int
    """Chosen tokens times the epochs over them."""


@dataclass(frozen=True)
class Disk:
    """Bytes on the disk."""

    checkpoints: tuple[int, ...]
    """Steps."""
    one_checkpoint: int | None
    """None where the model's shape is not known; likewise below."""
    all_checkpoints: int | None
    states: int | None
    """What resuming needs beside them while the run lasts; removed at its end."""


@dataclass(frozen=True)
class Variant:
    name: str
    memory: Memory


@dataclass(frozen=True)
class Estimate:
    processes: int
    shape: ModelShape | None
    trained: int | None
    """Parameters with gradients."""
    work: SFTWork | PPOWork
    disk: Disk
    sharding: Sharding
    lengths: Lengths
    memory: tuple[Variant, ...]
    """As configured first, then with gradient checkpointing and LoRA changed; empty without a shape."""


def estimate(
    config: SFTConfig | PPOConfig, shape: ModelShape | None, lengths: Lengths, drawable: int
) -> Estimate:
    """Put it all together.

    Args:
        config: built for the number of processes in question.
        shape: None where it is not known.
        lengths: of rows.
        drawable: hands (or solutions of hands) in one pass.
    """
    work = _ppo_work(config, drawable) if hasattr(config, "vf_coef") else _sft_work(config, lengths, drawable)
    return Estimate(
        processes=config.world_size,
        shape=shape,
        trained=trained_parameters(shape, config, config.use_peft) if shape else None,
        work=work,
        disk=_disk(config, work, shape),
        sharding=sharding(config),
        lengths=lengths,
        memory=_variants(shape, config, lengths.longest) if shape else (),
    )


def _sft_work(config: Any, lengths: Lengths, drawable: int) -> SFTWork:
    rows, per_step = config.rows, config.rows_per_step
    batches = ceil(rows / (config.per_device_train_batch_size * config.world_size))
    steps_per_epoch = max(1, ceil(batches / config.gradient_accumulation_steps))
    steps = config.max_steps if config.max_steps > 0 else ceil(steps_per_epoch * config.num_train_epochs)
    epochs = steps / steps_per_epoch
    seen = rows * epochs
    return SFTWork(
        steps=steps,
        rows=rows,
        rows_per_step=per_step,
        epochs=round(epochs, 3),
        hands=_hands(config),
        passes=seen / drawable,
        tokens=round(seen * (lengths.prompt + lengths.reply)) if lengths.measured else None,
        trained_tokens=round(seen * lengths.reply) if lengths.measured else None,
    )


def _ppo_work(config: Any, drawable: int) -> PPOWork:
    rollouts = ceil(config.max_steps / config.steps_per_rollout)
    episodes = rollouts * config.episodes_per_rollout
    replies = episodes * config.max_turns
    tokens = replies * config.max_completion_length
    return PPOWork(
        steps=config.max_steps,
        steps_per_rollout=config.steps_per_rollout,
        rollouts=rollouts,
        episodes=episodes,
        hands=_hands(config),
        passes=config.deals_to_play / drawable,
        replies_at_most=replies,
        generated_tokens_at_most=tokens,
        trained_tokens_at_most=tokens * config.num_iterations,
    )


def checkpoint_steps(config: Any, steps: int, steps_per_epoch: int) -> tuple[int, ...]:
    """After which steps a checkpoint is written."""
    strategy, every = config.save_strategy.value, 0
    if strategy == "steps":
        every = ceil(config.save_steps * steps) if config.save_steps < 1 else int(config.save_steps)
    elif strategy == "epoch":
        every = steps_per_epoch
    regular = set(range(every, steps + 1, every)) if every else set()
    if strategy == "steps":
        regular.add(steps)
    return tuple(sorted(regular | {step for step in config.save_at if step <= steps}))


def _disk(config: Any, work: SFTWork | PPOWork, shape: ModelShape | None) -> Disk:
    epoch = getattr(work, "epochs", 1) or 1
    steps = checkpoint_steps(config, work.steps, ceil(work.steps / epoch))
    if shape is None:
        return Disk(steps, None, None, None)
    lora = config.use_peft
    itemsize = ITEMSIZE[config.dtype] if lora else weights_itemsize(config)
    one = shape.parameters * itemsize
    if config.save_only_model:
        state = 0
    elif lora:  # the adapter and its two moments; the checkpoint is a merged copy
        state = 3 * 4 * trained_parameters(shape, config, lora)
    else:
        # The weights of a state and of its checkpoint are one file with two names. FSDP and DeepSpeed write
        # their own copy beside it, DeepSpeed's with fp32 masters.
        moments = 2 * itemsize * trained_parameters(shape, config, lora)
        own = {"none": 0, "FSDP": one}.get(sharding(config).kind, one + 4 * shape.reached)
        state = moments + own
    return Disk(steps, one, one * len(steps), state * min(_STATES, len(steps)))


def _variants(shape: ModelShape, config: Any, length: int) -> tuple[Variant, ...]:
    as_set, lora = recomputes(config), config.use_peft
    without, rank = "without gradient checkpointing", f"LoRA of rank {config.lora_r}"
    choices = {
        "as configured": (as_set, lora),
        (without if as_set else without.replace("without", "with")): (not as_set, lora),
        ("every parameter trained" if lora else rank): (as_set, not lora),
    }
    return tuple(
        Variant(name, memory(shape, config, length, checkpointing=recompute, lora=adapter))
        for name, (recompute, adapter) in choices.items()
    )


def _hands(config: Any) -> int:
    return len(hand_set("id_seen", config.parsed_rule).deals)
