"""What the trainers cost: SFT against a bare PyTorch loop on the same batches, and where PPO's time goes.

    python -m tests.benchmarks.trainers

Both run on the nano base with the settings of `nano.yaml`, without saving and scoring. SFT and the bare loop
alternate, and the fastest run of each counts. Seconds are CPU seconds over all threads, which other work on
the machine does not inflate. Prints two Markdown tables.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import torch
from tabulate import tabulate
from torch.nn.functional import cross_entropy
from transformers import TrainerCallback, get_cosine_schedule_with_warmup

from points24.harness.config import config_file, configured, read_settings
from points24.trainers import ppo, sft
from points24.trainers.run.models import load_model, load_tokenizer
from points24.trainers.run.run import on_this_machine
from tests.benchmarks.table import Row, exponent

SFT_STEPS, SFT_ROUNDS, PPO_STEPS = 40, 3, 16


def settings(trainer: str, folder: str, steps: int) -> dict[str, Any]:
    ours = {
        "output_dir": folder,
        "model_name_or_path": "nano-base",
        "max_steps": steps,
        "save_strategy": "no",
    }
    read = read_settings(config_file("nano.yaml"), section=trainer)
    return on_this_machine(read | ours | {"save_at": [], "disable_tqdm": True, "logging_steps": 10})


class Clock(TrainerCallback):
    """CPU seconds from the end of the first step to the end of the last, without start-up and warm-up."""

    began = ended = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ended = time.process_time()
        self.began = self.began or self.ended


def trl_seconds(folder: str, steps: int = SFT_STEPS) -> tuple[float, list[dict[str, torch.Tensor]]]:
    """CPU seconds of SFT as users run it, and its batches."""
    config = configured(sft.SFTConfig, settings("sft", folder, steps))
    clock, tokenizer = Clock(), load_tokenizer(config.parent, chat=False)
    trainer = sft.build_trainer(config, load_model(config), tokenizer, [clock])
    batches = list(trainer.get_train_dataloader())
    trainer.train()
    return clock.ended - clock.began, batches


def bare_seconds(folder: str, batches: list[dict[str, torch.Tensor]]) -> float:
    """CPU seconds of the shortest loop that trains on the same batches with the same optimiser."""
    config = configured(sft.SFTConfig, settings("sft", folder, SFT_STEPS))
    model = load_model(config).to(config.device).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, int(config.warmup_steps), SFT_STEPS)
    began = 0.0
    for batch in batches:
        with torch.autocast(config.device.type, torch.bfloat16, enabled=bool(config.bf16)):
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        loss = cross_entropy(logits[:, :-1].flatten(0, 1).float(), batch["labels"][:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        began = began or time.process_time()
    return time.process_time() - began


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        ours, bare, _ = sft_seconds(folder)
        growth = exponent([11, 21, 41, 81], lambda steps: trl_seconds(folder, steps)[0])
    yield Row(f"train sft, {SFT_STEPS} steps", ours, "a bare PyTorch loop", bare, "CPU s", "steps", growth)


def sft_seconds(folder: str) -> tuple[float, float, list[dict[str, torch.Tensor]]]:
    """CPU seconds of SFT and of the bare loop, the least of several runs, and the batches of both."""
    rounds, batches = [], []
    for _ in range(SFT_ROUNDS):
        ours, batches = trl_seconds(folder)
        rounds.append((ours, bare_seconds(folder, batches)))
    ours, bare = (min(column) for column in zip(*rounds, strict=True))
    return ours, bare, batches


def sft_table(folder: str) -> str:
    ours, bare, batches = sft_seconds(folder)
    tokens = sum(int(batch["attention_mask"].sum()) for batch in batches[1:])
    lines = [
        ["points24 train sft", ours, tokens / ours, bare / ours],
        ["bare loop", bare, tokens / bare, 1.0],
    ]
    headers = ["SFT", "CPU s", "tokens per CPU s", "share of the bare loop's"]
    return tabulate(lines, headers, tablefmt="github", floatfmt=("", ".2f", ",.0f", ".2f"))


def ppo_table(folder: str) -> str:
    config = configured(ppo.PPOConfig, settings("ppo", folder, PPO_STEPS))
    tokenizer = load_tokenizer(config.parent, chat=False)
    trainer = ppo.build_trainer(config, load_model(config), tokenizer, [])
    spent: dict[str, float] = defaultdict(float)

    def timed(owner: Any, method: str, part: str) -> None:
        function: Callable[..., Any] = getattr(owner, method)

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent[part] += time.process_time() - began

        setattr(owner, method, call)

    timed(trainer, "_generate_single_turn", "generation")
    timed(trainer, "_generate_and_score_completions", "rollout")
    timed(trainer, "_compute_loss", "forward")
    timed(trainer.accelerator, "backward", "backward")
    began = time.process_time()
    trainer.train()
    total = time.process_time() - began
    parts = {
        "generation": spent["generation"],
        "verdicts, old log-probs and values, advantages": spent["rollout"] - spent["generation"],
        "forward": spent["forward"],
        "backward": spent["backward"],
    }
    parts["optimiser and the rest"] = total - sum(parts.values())
    lines = [[part, seconds, 100 * seconds / total] for part, seconds in parts.items()]
    episodes = config.episodes_per_rollout * PPO_STEPS // config.steps_per_rollout
    title = f"PPO, {PPO_STEPS} steps, {episodes} episodes"
    return tabulate(lines, [title, "CPU s", "%"], tablefmt="github", floatfmt=("", ".2f", ".0f"))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        sft_rows, ppo_rows = sft_table(folder), ppo_table(folder)
    print(f"{sft_rows}\n\n{ppo_rows}", file=sys.__stdout__)


if __name__ == "__main__":
    main()
