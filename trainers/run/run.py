"""A run of SFT or PPO: claim the folder, load the parent, train, mark the checkpoints, tidy up."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from importlib.util import find_spec
from typing import Any

import torch
from accelerate import PartialState
from transformers import ProgressCallback, Trainer

from points24.harness.config import configured
from points24.tasks.errors import InputError
from points24.trainers.run.folder import RunFolder, parent_of
from points24.trainers.run.models import load_model, load_tokenizer
from points24.trainers.run.progress import Progress
from points24.trainers.run.scoring import ScoreCheckpoints

Build = Callable[[Any, Any, Any, list[Any]], Trainer]
"""(config, model, tokenizer, callbacks) -> TRL's trainer."""


def train_run(stage: str, config_class: type, build: Build, settings: dict[str, Any]) -> RunFolder:
    """Train, or resume a killed run of the same settings; one that is finished stays as it is.

    Args:
        stage: ``SFT`` or ``PPO``.
        config_class: a dataclass that combines `RunConfig` and TRL's configuration.
        build: makes the trainer.
        settings: what differs from the defaults of `config_class`.

    Raises:
        InputError: bad settings, a parent that cannot be loaded, or a folder that is not this run's.
    """
    need_output_dir(settings)
    config = configured(config_class, on_this_machine(settings))
    run = RunFolder(config.output_dir)
    parent = parent_of(config.parent)
    processes = PartialState()
    if config.num_processes not in (None, processes.num_processes):
        raise InputError(
            f"num_processes: the settings are for {config.num_processes}, found {processes.num_processes}; "
            "--dry-run prints the commands for either"
        )
    if config.score_engine == "vllm":
        if processes.num_processes > 1:
            raise InputError(f"score_engine: vllm scores for one process, found {processes.num_processes}")
        if find_spec("vllm") is None:  # imported, it would set environment variables for the training
            raise InputError("score_engine: vllm is not installed: pip install 'points24[vllm]'")
    if config.save_strategy not in ("steps", "epoch"):
        raise InputError(f"save_strategy: expected steps or epoch, found {config.save_strategy.value}")
    tokenizer = load_tokenizer(config.parent, chat=config.apply_chat_template)
    about = {
        "stage": stage,
        "parent": parent,
        "num_processes": processes.num_processes,
        "protocol_digest": config.asked.digest,
        "config": {key: value for key, value in settings.items() if key != "output_dir"},
    }
    with run.claim(about, config) if processes.is_main_process else contextlib.nullcontext():
        if processes.is_main_process:
            run.last_state()  # removes incomplete states before any process reads them
        processes.wait_for_everyone()
        if run.is_finished():
            if processes.is_main_process:
                run.tidy()
                print(f"points24: {run.path}: this run is finished already", file=sys.stderr)
            return run
        scoring = ScoreCheckpoints(run, config, stage, parent)
        if not run.is_trained():
            with _without_denormals():
                _train(run, config, tokenizer, build, scoring)
        processes.wait_for_everyone()
        if processes.is_main_process:
            scoring.after_training()
            run.finish()
        processes.wait_for_everyone()
    return run


@contextlib.contextmanager
def _without_denormals() -> Iterator[None]:
    """A confident model's gradients are full of denormal numbers, on which a CPU spends most of a step."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _train(run: RunFolder, config: Any, tokenizer: Any, build: Build, scoring: ScoreCheckpoints) -> None:
    config.output_dir = str(run.state)
    config.save_total_limit = 2  # a new state is complete only after scoring, so the one before stays
    with contextlib.redirect_stdout(sys.stderr):  # transformers prints progress there
        trainer = build(config, load_model(config), tokenizer, [scoring])
        if not config.disable_tqdm:
            trainer.remove_callback(ProgressCallback)
            trainer.add_callback(Progress(f"train {run.name}"))
        scoring.loggers = trainer.callback_handler
        state = run.last_state()
        trainer.train(resume_from_checkpoint=None if state is None else str(state))


def need_output_dir(settings: dict[str, Any]) -> None:
    """Raise `InputError` if there is no output_dir: TRL would write into the current folder."""
    if "output_dir" not in settings:
        raise InputError("output_dir: missing; give output_dir=FOLDER")


def on_this_machine(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, with `use_cpu` on a machine without accelerator, as transformers requires."""
    here = {} if torch.accelerator.is_available() else {"use_cpu": True}
    return here | deepcopy(settings)  # transformers writes into fsdp_config
