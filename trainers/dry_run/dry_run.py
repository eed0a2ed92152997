"""``points24 train … --dry-run``: the settings as they are understood, and the estimate, without training.

No weights are loaded and nothing is written. It runs on a CPU whatever the run itself is for.
"""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import MISSING, asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

from points24.harness.config import configured
from points24.tasks.cards import TARGET
from points24.tasks.errors import InputError
from points24.tasks.feedback import feedback
from points24.tasks.hand_sets import hand_set
from points24.tasks.prompts import template
from points24.tasks.solver import solutions
from points24.tasks.verdict import judge_reply
from points24.trainers.deals import completion_row, examples, prompt_row
from points24.trainers.dry_run.estimate import Estimate, Lengths, estimate
from points24.trainers.dry_run.memory import deepspeed_settings, recomputes
from points24.trainers.dry_run.shape import ModelShape, shape_of
from points24.trainers.ppo import PPOConfig
from points24.trainers.run.run import load_tokenizer, need_output_dir
from points24.trainers.sft import SFTConfig

_SAMPLE = 256
"""Rows that are tokenised."""
_ONLY_WITH_GPU = ("deepspeed", "tf32")
"""Settings that transformers refuses where what they need is not installed."""
_CHARACTERS_PER_TOKEN = 3


@dataclass(frozen=True)
class DryRun:
    """Everything that is printed."""

    trainer: str
    given: dict[str, Any]
    """Settings of the file and the command line."""
    defaults: dict[str, Any]
    """Settings that points24's own classes default; TRL's and transformers' others are theirs."""
    estimate: Estimate
    notes: tuple[str, ...]
    """What could not be known, and why."""
    commands: dict[str, str]


def dry_run(
    trainer: str,
    settings: dict[str, Any],
    arguments: Sequence[str],
    processes: int | None = None,
    parent_shape: str | None = None,
) -> DryRun:
    """Work out what a run would do.

    Args:
        trainer: ``sft`` or ``ppo``.
        settings: what differs from the defaults.
        arguments: the command line after the trainer's name, for the commands to print.
        processes: how many, one for each device; None takes `num_processes` of the settings, else 1.
        parent_shape: a model of the parent's shape, to look at where the parent does not exist yet.

    Raises:
        InputError: bad settings.
    """
    config_class = SFTConfig if trainer == "sft" else PPOConfig
    need_output_dir(settings)
    if processes is not None:
        settings = settings | {"num_processes": processes}
        arguments = [*arguments, f"num_processes={processes}"]
    count = settings.get("num_processes") or 1
    notes = []
    config = _config(config_class, settings, count)
    if parent_shape and not isinstance(config.parent, Path):
        config.model_name_or_path = parent_shape
        notes.append(f"{settings['model_name_or_path']} is not there yet: what follows is of {parent_shape}")
    shape, why = _shape(config)
    if shape is None:
        notes.append(f"memory and size of a checkpoint are not known: {why}")
    elif shape.published:
        notes.append(
            f"the config.json of {config.parent} is out of reach: counted from its published figures"
        )
    tokenizer = None
    if shape is not None and not shape.published:  # else the hub was just now out of reach
        with suppress(InputError):
            tokenizer = load_tokenizer(config.parent, chat=config.apply_chat_template)
    if tokenizer is None:
        notes.append(
            f"the tokenizer of {config.parent} is out of reach: tokens are not counted, and "
            f"{_CHARACTERS_PER_TOKEN} characters are taken for one where a length is needed"
        )
    lengths = _lengths(config, tokenizer)
    if trainer == "sft" and config.max_length is not None and lengths.longest > config.max_length:
        notes.append(f"rows of {lengths.longest} tokens are cut to max_length, {config.max_length}")
    return DryRun(
        trainer=trainer,
        given=settings,
        defaults=_own_defaults(config_class, settings),
        estimate=estimate(config, shape, lengths, _drawable(config)),
        notes=tuple(notes),
        commands=_commands(trainer, config, settings, arguments),
    )


def _config(config_class: type, settings: dict[str, Any], processes: int) -> Any:
    """The configuration as it would be in each of so many processes, built in this one."""
    here = type(
        config_class.__name__,
        (config_class,),
        {"world_size": processes, "__module__": config_class.__module__},
    )
    if settings.get("deepspeed"):
        deepspeed_settings(settings["deepspeed"])
    shown = {key: value for key, value in settings.items() if key not in _ONLY_WITH_GPU}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = configured(here, deepcopy(shown) | {"use_cpu": True})
    config.deepspeed = settings.get("deepspeed")
    return config


def _shape(config: Any) -> tuple[ModelShape | None, str]:
    try:
        return shape_of(config.parent, config.lora_target_modules), ""
    except InputError as e:
        return None, str(e)


def _own_defaults(config_class: type, settings: dict[str, Any]) -> dict[str, Any]:
    own = {
        name
        for base in config_class.__mro__
        if base.__module__.startswith("points24.")
        for name in vars(base).get("__annotations__", {})
    }
    return {
        f.name: f.default_factory() if f.default_factory is not MISSING else f.default
        for f in fields(config_class)
        if f.name in own and f.name not in settings
    }


def _drawable(config: Any) -> int:
    """Deals in one pass over the hands; where every solution is taught, solutions."""
    hands = hand_set("id_seen", config.parsed_rule).deals
    if getattr(config, "solutions", None) != "all":
        return len(hands)
    return sum(len(solutions(deal.values, TARGET)) for deal in hands)


def _lengths(config: Any, tokenizer: Any) -> Lengths:
    wording, chat = template(config.template), config.apply_chat_template
    drawn = list(islice(examples(config.parsed_rule, "random", config.seed), _SAMPLE))
    prompts = [prompt_row(deal, wording, chat)["prompt"] for deal, _ in drawn]
    replies = [completion_row(deal, formula, chat)["completion"] for deal, formula in drawn]

    def size(*messages: Any, start_reply: bool = False) -> int:
        if tokenizer is None:
            text = "".join(m if isinstance(m, str) else m[0]["content"] for m in messages)
            return len(text) // _CHARACTERS_PER_TOKEN + 1
        if not chat:
            return len(tokenizer("".join(messages)).input_ids)
        turns = [message[0] for message in messages]
        return len(
            tokenizer.apply_chat_template(
                turns, add_generation_prompt=start_reply, tokenize=True, return_dict=False
            )
        )

    before = [size(prompt, start_reply=True) for prompt in prompts]
    mean = sum(before) / len(before)
    if hasattr(config, "max_turns"):
        message = feedback(judge_reply(drawn[0][0], ""))
        between = size([{"role": "user", "content": message}] if chat else message)
        dialogue = config.max_turns * config.max_completion_length + (config.max_turns - 1) * between
        return Lengths(mean, config.max_completion_length, max(before) + dialogue, tokenizer is not None)
    ends = 0 if chat else 1  # TRL adds the end of sequence to plain text; a chat template has it
    whole = [size(*row) + ends for row in zip(prompts, replies, strict=True)]
    reply = sum(whole) / len(whole) - mean
    return Lengths(mean, reply, max(whole), tokenizer is not None)


def _commands(
    trainer: str, config: Any, settings: dict[str, Any], arguments: Sequence[str]
) -> dict[str, str]:
    """How to start it in one process, and in several: with the same global batch, where one is meant."""
    processes = config.num_processes or 1
    command = ["points24", "train", trainer, *arguments]
    several = max(processes, 2)
    alone, shared = list(command), list(command)
    if processes > 1:
        alone += ["num_processes=1", *_scaled(config, settings)]
        if recomputes(config):
            alone.append("gradient_checkpointing=true")
        alone += [f"{key}=null" for key in ("fsdp", "fsdp_config", "deepspeed") if getattr(config, key)]
    elif config.num_processes == 1:
        shared.append("num_processes=2")
    launch = ["accelerate", "launch", "--multi_gpu", "--num_processes", str(several), "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--no_python"]
    name = f"{several} processes" + ("" if processes > 1 else ", with twice the batch")
    torchrun = ["torchrun", "--nproc_per_node", str(several), "--no-python"]
    found = {
        "one process": shlex.join(alone),
        f"{name}: accelerate": shlex.join([*launch, *shared]),
        f"{name}: torchrun": shlex.join([*torchrun, *shared]),
    }
    if not (config.fsdp or config.deepspeed):
        fsdp = ["fsdp=true", "fsdp_config={state_dict_type: FULL_STATE_DICT}"]
        found[f"{name}: sharded"] = shlex.join([*torchrun, *shared, *fsdp])
    return found


def _scaled(config: Any, settings: dict[str, Any]) -> list[str]:
    """Overrides with which one process accumulates the batch of several."""
    found = [f"gradient_accumulation_steps={config.gradient_accumulation_steps * config.num_processes}"]
    if per_rollout := settings.get("steps_per_generation"):  # else TRL works it out from what is given
        found.append(f"steps_per_generation={per_rollout * config.num_processes}")
    return found


def as_json(found: DryRun) -> dict[str, Any]:
    """For machines: sizes in bytes, with the total of each memory estimate."""
    whole = asdict(found)
    for variant, row in zip(found.estimate.memory, whole["estimate"]["memory"], strict=True):
        row["memory"]["total"] = variant.memory.total
    return whole
