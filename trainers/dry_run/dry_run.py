"""``points24 train … --dry-run``: what a run would do, without training.

No weights are loaded and nothing is written. It runs on a CPU, whatever the run itself needs. Steps, rows and
bytes are those of a real run; the tokens of SFT are counted over its first 256 rows and scaled to all of
them. What cannot be known is None, and a note says why.
"""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch
from transformers import AutoConfig

from points24.harness.checkpoints.pretrained import from_config, from_pretrained
from points24.harness.config import configured, override
from points24.tasks.cards import TARGET
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import hand_set
from points24.tasks.solver import solutions
from points24.trainers.grpo import GRPOConfig
from points24.trainers.mixture import rows
from points24.trainers.ppo_config import PPOConfig
from points24.trainers.rloo import RLOOConfig
from points24.trainers.run.config import defaults_of
from points24.trainers.run.models import auto_class, load_tokenizer
from points24.trainers.run.run import need_output_dir
from points24.trainers.sft import SFTConfig

CONFIGS = {"sft": SFTConfig, "ppo": PPOConfig, "grpo": GRPOConfig, "rloo": RLOOConfig}
"""The settings of each trainer."""
_SAMPLE = 256
"""Rows that are tokenised."""
_STATES = 3
"""States on the disk at once: two are kept, and a third is written before the oldest is removed."""
_ITEMSIZE = {"float32": 4, "bfloat16": 2, "float16": 2}
_ADAMW = ("adamw_torch", "adamw_torch_fused")
"""Their two moments have the dtype of the weights."""
_ONLY_WITH_GPU = ("deepspeed", "tf32")
"""Settings that transformers refuses on a machine without DeepSpeed or a GPU."""


@dataclass(frozen=True)
class DryRun:
    """What is printed; with ``--json`` as it stands here."""

    trainer: str
    given: dict[str, Any]
    """Settings of the file and the command line."""
    defaults: dict[str, Any]
    """Settings that points24's own classes default; other keys keep the defaults of TRL and transformers."""
    processes: int
    parameters: int | None
    """See `Size`; None where the model's configuration is out of reach. Likewise below."""
    trained_parameters: int | None
    work: dict[str, Any]
    """See `_sft_work` and `_rollout_work`."""
    checkpoint_steps: tuple[int, ...]
    checkpoint_bytes: int | None
    """Weights of one checkpoint; the tokenizer, JSON and PPO's critic beside them are small."""
    states_bytes: int | None
    """What resuming needs beside the checkpoints while the run lasts. None where that is not known: with
    FSDP, DeepSpeed, or an optimiser other than AdamW."""
    notes: tuple[str, ...]
    """What could not be known, and why."""
    commands: dict[str, str]


def dry_run(
    trainer: str,
    settings: dict[str, Any],
    arguments: Sequence[str],
    processes: int | None = None,
    stand_in: str | None = None,
) -> DryRun:
    """Work out what a run would do.

    Args:
        trainer: one of `CONFIGS`.
        settings: what differs from the defaults.
        arguments: the command line after the trainer's name, for the commands to print.
        processes: number of processes, one per device; None takes `num_processes` of the settings, else 1.
        stand_in: a model of the same shape and tokenizer, for a parent that has not been trained yet.

    Raises:
        InputError: bad settings.
    """
    config_class = CONFIGS[trainer]
    need_output_dir(settings)
    if processes is not None:
        settings = settings | {"num_processes": processes}
        arguments = [*arguments, f"num_processes={processes}"]
    config, notes = _config(config_class, settings, settings.get("num_processes") or 1), []
    if stand_in and not Path(config.model_name_or_path).expanduser().is_dir():
        config.model_name_or_path = stand_in
        notes.append(f"{settings['model_name_or_path']} does not exist yet; {stand_in} stands in for it")
    size, lengths = _sizes(config, notes)
    if trainer == "sft":
        work = _sft_work(config, lengths)
        longest = max((whole for _, whole in lengths or ()), default=0)
        if config.max_length is not None and longest > config.max_length:
            notes.append(f"rows of {longest} tokens are cut to max_length, {config.max_length}")
        if config.packing:
            notes.append("packing: a step takes more rows than are counted here")
    else:
        work = _rollout_work(config)
    steps = checkpoint_steps(config, work["steps"], work.get("steps_per_epoch", work["steps"]))
    return DryRun(
        trainer=trainer,
        given=settings,
        defaults=_own_defaults(config_class, settings),
        processes=config.world_size,
        parameters=size and size.parameters,
        trained_parameters=size and size.trained,
        work=work,
        checkpoint_steps=steps,
        checkpoint_bytes=size and _checkpoint_bytes(config, size),
        states_bytes=size and _states_bytes(config, size, len(steps)),
        notes=tuple(notes),
        commands=_commands(trainer, config, settings, arguments),
    )


def _config(config_class: type, settings: dict[str, Any], processes: int) -> Any:
    """The configuration as it would be in each of `processes` processes, built in this one."""
    deepspeed = settings.get("deepspeed")
    if isinstance(deepspeed, str) and not Path(deepspeed).is_file():
        raise InputError(f"deepspeed: expected a mapping or a JSON file, found {deepspeed!r}")
    own = {"world_size": processes, "__module__": config_class.__module__}
    here = type(config_class.__name__, (config_class,), own)
    shown = {key: value for key, value in settings.items() if key not in _ONLY_WITH_GPU}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = configured(here, deepcopy(shown) | {"use_cpu": True})
    config.deepspeed = deepspeed
    return config


def _sizes(config: Any, notes: list[str]) -> tuple[Size | None, list[tuple[int, int]] | None]:
    """The model's size and, for SFT, the rows' lengths; None of a model out of reach, with a note."""
    size = lengths = None
    try:
        size = model_size(config)
        if isinstance(config, SFTConfig):
            lengths = _lengths(config, load_tokenizer(config.parent, chat=config.apply_chat_template))
    except InputError as e:
        if Path(config.model_name_or_path).expanduser().exists():  # the run itself would refuse it
            raise
        notes.append(f"{'tokens' if size else 'parameters, bytes and tokens'} are not known: {e}")
    return size, lengths


def _own_defaults(config_class: type, settings: dict[str, Any]) -> dict[str, Any]:
    ours = [base for base in config_class.__mro__ if base.__module__.startswith("points24.")]
    own = {name for base in ours for name in vars(base).get("__annotations__", {})}
    return {n: d for n, d in defaults_of(config_class).items() if n in own and n not in settings}


class Size(NamedTuple):
    parameters: int
    """Tied ones counted once."""
    trained: int
    """Those of the adapter where one is trained; with PPO's critic."""
    stored_bytes: int
    """In the dtype in which the model is stored."""


def model_size(config: Any) -> Size:
    """Count the parameters of a run's model without allocating them.

    Raises:
        InputError: the model's configuration is out of reach, or it is not a decoder's.
    """
    try:
        model_config = from_pretrained(AutoConfig, config.parent)
        stored: Any = model_config.dtype or torch.float32  # before building, which changes it
        with torch.device("meta"):
            model = from_config(auto_class(model_config), model_config)
    except (OSError, ValueError) as e:
        raise InputError(f"cannot read the config.json of {config.parent}") from e
    parameters = sum(p.numel() for p in model.parameters())
    if config.peft_config:
        from peft import get_peft_model

        with torch.device("meta"):
            model = get_peft_model(model, config.peft_config)
    critic = model_config.get_text_config().hidden_size + 1 if isinstance(config, PPOConfig) else 0
    trained = critic + sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Size(parameters, trained, parameters * stored.itemsize)


def _lengths(config: Any, tokenizer: Any) -> list[tuple[int, int]]:
    """(prompt, prompt and reply) of the run's first rows, in tokens."""
    chat = config.apply_chat_template

    def count(text: Any, *, start_reply: bool = False) -> int:
        if not chat:
            return len(tokenizer(text).input_ids)
        return len(
            tokenizer.apply_chat_template(
                text, add_generation_prompt=start_reply, tokenize=True, return_dict=False
            )
        )

    ends = 0 if chat else 1  # TRL adds the end of sequence to plain text; a chat template writes it itself
    found = []
    for row in islice(rows(config.shows, config.asked, chat=chat), min(_SAMPLE, config.rows)):
        whole = row["prompt"] + row["completion"]  # texts, or lists of messages
        found.append((count(row["prompt"], start_reply=True), count(whole) + ends))
    return found


def _sft_work(config: SFTConfig, lengths: list[tuple[int, int]] | None) -> dict[str, Any]:
    """The steps; the rows, and how often each hand (or each solution) is met; tokens without padding."""
    # As transformers counts: 100 rows on 2 devices of 8 are 7 batches, and with 2 batches a step 4 steps.
    batches = ceil(config.rows / (config.per_device_train_batch_size * config.world_size))
    steps_per_epoch = max(1, ceil(batches / config.gradient_accumulation_steps))
    steps = config.max_steps if config.max_steps > 0 else ceil(steps_per_epoch * config.num_train_epochs)
    seen = config.rows * steps / steps_per_epoch
    hands = hand_set("id_seen", config.parsed_rule).deals
    of_each = config.solutions == "all"
    choices = sum(len(solutions(deal.values, TARGET)) for deal in hands) if of_each else len(hands)
    tokens = trained = None
    if lengths:
        most = config.max_length or max(whole for _, whole in lengths)
        tokens = round(seen * fmean(min(whole, most) for _, whole in lengths))
        trained = round(seen * fmean(max(0, min(whole, most) - prompt) for prompt, whole in lengths))
    return {
        "steps": steps,
        "steps_per_epoch": steps_per_epoch,
        "rows": config.rows,
        "rows_per_step": config.rows_per_step,
        "hands": len(hands),
        "passes": seen / choices,
        "tokens": tokens,
        "trained_tokens": trained,
    }


def _rollout_work(config: Any) -> dict[str, Any]:
    """The steps; the rollouts and their episodes, over all processes; upper bounds of replies and tokens."""
    rollouts = ceil(config.max_steps / config.steps_per_rollout)
    episodes = rollouts * config.episodes_per_rollout
    hands = len(hand_set("id_seen", config.parsed_rule))
    replies = episodes * getattr(config, "max_turns", 1)
    tokens = replies * (config.max_completion_length or 0)
    return {
        "steps": config.max_steps,
        "steps_per_rollout": config.steps_per_rollout,
        "rollouts": rollouts,
        "episodes": episodes,
        "hands": hands,
        "passes": config.deals_to_play / hands,
        "replies_at_most": replies,
        "generated_tokens_at_most": tokens,
        "trained_tokens_at_most": tokens * config.num_iterations,
    }


def checkpoint_steps(config: Any, steps: int, steps_per_epoch: int) -> tuple[int, ...]:
    """The steps after which a checkpoint is written."""
    found = {step for step in config.save_at if step <= steps}
    if config.save_strategy.value == "steps":
        every = ceil(config.save_steps * steps) if config.save_steps < 1 else int(config.save_steps)
        found |= {*range(every, steps + 1, every), steps}
    elif config.save_strategy.value == "epoch":
        found |= {*range(steps_per_epoch, steps + 1, steps_per_epoch)}
    return tuple(sorted(found))


def _checkpoint_bytes(config: Any, size: Size) -> int:
    if config.use_peft:
        return size.stored_bytes  # adapters are merged into the parent as it is stored
    upcast = config.fsdp and (config.bf16 or config.fp16)  # FSDP keeps fp32 weights for mixed precision
    return size.parameters * (4 if upcast else _ITEMSIZE[config.dtype])


def _states_bytes(config: Any, size: Size, checkpoints: int) -> int | None:
    """A state and its checkpoint share one file of weights, so a state adds AdamW's two moments.

    An adapter is trained in fp32, and its checkpoint holds the merged weights: its state adds the adapter.
    """
    if config.fsdp or config.deepspeed or config.optim not in _ADAMW or config.save_only_model:
        return None
    per_parameter = 3 * 4 if config.use_peft else 2 * _ITEMSIZE[config.dtype]
    return size.trained * per_parameter * min(_STATES, checkpoints)


def _commands(
    trainer: str, config: Any, settings: dict[str, Any], arguments: Sequence[str]
) -> dict[str, str]:
    """How to start the run in one process and in several; with the same global batch if it is configured."""
    processes = config.num_processes or 1
    alone: dict[str, Any] = {}
    shared: dict[str, Any] = {}
    if processes > 1:
        accumulated = config.gradient_accumulation_steps * processes  # the batch of all processes in one
        alone |= {"num_processes": 1, "gradient_accumulation_steps": accumulated}
        if per_rollout := settings.get("steps_per_generation"):  # otherwise TRL derives it
            alone["steps_per_generation"] = per_rollout * processes
        if config.gradient_checkpointing or (config.fsdp_config or {}).get("activation_checkpointing"):
            alone["gradient_checkpointing"] = True
        alone |= {key: None for key in ("fsdp", "fsdp_config", "deepspeed") if getattr(config, key)}
    elif config.num_processes == 1:
        shared["num_processes"] = 2
    name = f"{processes} processes" if processes > 1 else "2 processes, with twice the batch"
    torchrun = ["torchrun", "--nproc_per_node", str(max(processes, 2)), "--no-python"]

    def command(changes: dict[str, Any]) -> list[str]:
        kept = [word for word in arguments if word.partition("=")[0] not in changes]
        return ["points24", "train", trainer, *kept, *(override(*item) for item in changes.items())]

    found = {"one process": shlex.join(command(alone)), name: shlex.join([*torchrun, *command(shared)])}
    if not (config.fsdp or config.deepspeed):
        sharded = shared | {"fsdp": True, "fsdp_config": {"state_dict_type": "FULL_STATE_DICT"}}
        found[f"{name}, sharded"] = shlex.join([*torchrun, *command(sharded)])
    return found
