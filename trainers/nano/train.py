"""Train the nano family from scratch: a small Llama that plays the 24 game, on two CPU cores.

Tests, the demo and the experiment train and score a real model with it, without downloading weights. Each
example draws what J, Q and K count as uniformly from 1 to 13 and states it in the prompt, so the model has to
read the rule. Deals are drawn uniformly from 13 ranks; those without a solution or with held-out numbers are
drawn again. The target is a reply with one of the deal's solutions, and the loss is on the reply alone. By
default the reply has the format that the prompt asks for. `json_share` trains a base that plays the game but
rarely keeps to that format: its other replies are three bare lines. A base for another protocol may start
from a base that plays already, so that it has only the other wording to learn.

All randomness follows from the seed and the step, so a resumed run takes the same batches as an uninterrupted
one.
"""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from points24.harness.checkpoints.locate import local
from points24.harness.checkpoints.pretrained import from_pretrained
from points24.harness.files import replacing
from points24.tasks.cards import Deal
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import hand_set
from points24.tasks.verdict import FLEXIBLE, STRICT, Verdict, judge_reply
from points24.trainers.nano.config import NanoConfig
from points24.trainers.nano.data import IGNORED, batch, by_length
from points24.trainers.nano.tokenizer import EOS_ID, PAD_ID, build_tokenizer
from points24.trainers.run.folder import RunFolder

MAX_REPLY_TOKENS = {"none": 48, "steps": 112, "search": 320}
"""Per working."""


def train(config: NanoConfig) -> Path:
    """Train, or resume an interrupted run of the same config; returns the model's folder.

    A finished model stays as it is.

    Raises:
        InputError: the folder holds a run with another config, or something else, or another command is at
            work there.
    """
    run = RunFolder(config.output_dir)
    settings = {key: value for key, value in asdict(config).items() if key != "output_dir"}
    with run.claim({"config": settings}, config):
        state_file = run.path / "training_state.pt"
        # The tokenizer is written last, and then the state is removed.
        if state_file.exists() or not (run.path / "tokenizer.json").exists():
            _train(config, run, state_file)
        else:
            print(f"points24: {run.path}: this model is finished already", file=sys.stderr)
    return run.path


def _train(config: NanoConfig, run: RunFolder, state_file: Path) -> None:
    torch.manual_seed(config.seed)
    tokenizer = build_tokenizer(config.asked, config.working)
    model = build_model(config, tokenizer)
    if config.model_name_or_path is not None:
        adopt(model, tokenizer, config.model_name_or_path)
    optimizer, schedule = _optimizer(model, config)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    start = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        start = state["step"]
        for name, part in parts.items():
            part.load_state_dict(state[name])
    run.truncate_log(start)

    extraction = config.asked.own_filter if config.json_share == 1 else FLEXIBLE
    progress = tqdm(range(start, config.max_steps), "nano", config.max_steps, initial=start, unit="step")
    began = time.perf_counter()
    for step in progress:
        loss = training_step(model, batch(config, step, tokenizer), config)
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        done = step + 1
        progress.set_postfix(loss=f"{loss:.3f}", refresh=False)
        if done % config.eval_steps == 0 or done == config.max_steps:
            scores = {
                name: accuracy(
                    model, tokenizer, hand_set(name).deals[: config.eval_deals], extraction, config
                )
                for name in config.eval_sets
            }
            seconds = round(time.perf_counter() - began, 1)
            run.append_log({"step": done, "loss": round(loss, 4), **scores, "seconds": seconds})
            shown = ", ".join(f"{name} {score:.1%}" for name, score in scores.items())
            progress.write(f"step {done}: {shown}", sys.stderr)
        if done % config.save_steps == 0:
            with replacing(state_file) as partial:
                torch.save({"step": done} | {n: part.state_dict() for n, part in parts.items()}, partial)
    model.bfloat16().save_pretrained(run.path)
    tokenizer(
        [""], padding=True
    )  # its file says how it was last called, which a resumed run may not have done
    tokenizer.save_pretrained(run.path)
    shutil.copymode(run.path / "config.json", run.path / "model.safetensors")  # safetensors writes mode 0600
    state_file.unlink(missing_ok=True)


def _optimizer(model: torch.nn.Module, config: NanoConfig) -> tuple[Any, Any]:
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=config.learning_rate,
        betas=(0.9, config.adam_beta2),
        weight_decay=config.weight_decay,
    )
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _lr_ratio(config, step))


def training_step(
    model: torch.nn.Module, tokens: tuple[torch.Tensor, torch.Tensor], config: NanoConfig
) -> float:
    """Add the gradient of the mean loss over the labelled positions; returns the loss, in nats per token."""
    model.train()
    labelled = (tokens[1][:, 1:] != IGNORED).sum()
    total = 0.0
    for inputs, labels in by_length(*tokens, config.micro_batches):
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            logits = model(input_ids=inputs).logits
        targets = labels[:, 1:].flatten()
        mean = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1).float(), targets, ignore_index=IGNORED
        )
        loss = mean * ((targets != IGNORED).sum() / labelled)  # times 1 exactly, where there is one part
        loss.backward()
        total += loss.item()
    return total


def build_model(config: NanoConfig, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama with random weights, in float32."""
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            max_position_embeddings=config.max_position_embeddings,
            pad_token_id=PAD_ID,
            bos_token_id=None,
            eos_token_id=EOS_ID,
        )
    )
    model.generation_config = GenerationConfig(pad_token_id=PAD_ID, eos_token_id=EOS_ID)
    return model


def adopt(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, parent: str) -> None:
    """Take over a nano model's weights. Tokens that its tokenizer lacks keep their random ones.

    Raises:
        InputError: it has another shape.
    """
    folder = local(parent) or parent
    theirs = from_pretrained(AutoModelForCausalLM, folder, dtype=torch.float32)
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"):
        if (found := getattr(theirs.config, name, None)) != (wanted := getattr(model.config, name)):
            raise InputError(f"model_name_or_path: {parent}: expected {name} {wanted}, found {found}")
    known = from_pretrained(AutoTokenizer, folder).get_vocab()
    shared = [(own, known[token]) for token, own in tokenizer.get_vocab().items() if token in known]
    ours, weights = model.state_dict(), theirs.state_dict()
    to, of = map(list, zip(*shared, strict=True))
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        ours[name][to] = weights[name][of]
        weights[name] = ours[name]
    model.load_state_dict(weights)


@torch.inference_mode()
def accuracy(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    deals: Sequence[Deal],
    extraction: str = STRICT,
    config: NanoConfig | None = None,
) -> float:
    """Share of the deals solved with greedy decoding; `extraction` as in `judge_reply`.

    The config tells how deals are asked and how long replies are; by default, as for nano-base.
    """
    model.eval()
    config = config or NanoConfig("")
    rendered = [config.asked.prompt.render(deal) for deal in deals]
    prompts = tokenizer(rendered, padding=True, return_tensors="pt")
    most = MAX_REPLY_TOKENS[config.working]
    tokens = model.generate(**prompts, max_new_tokens=most, do_sample=False)
    replies = tokenizer.batch_decode(tokens[:, prompts.input_ids.shape[1] :], skip_special_tokens=True)
    verdicts = [
        judge_reply(deal, reply, extraction).verdict for deal, reply in zip(deals, replies, strict=True)
    ]
    return verdicts.count(Verdict.CORRECT) / len(deals)


def _lr_ratio(config: NanoConfig, step: int) -> float:
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.max_steps - config.warmup_steps)
    return config.min_lr_ratio + (1 - config.min_lr_ratio) * (1 + math.cos(math.pi * done)) / 2
