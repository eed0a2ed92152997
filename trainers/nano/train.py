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
import random
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
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
from points24.tasks.cards import CARDS_PER_DEAL, RANKS, TARGET, Deal, Rule
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import hand_set, held_out_numbers
from points24.tasks.protocols.protocol import DEFAULT, Protocol, read_protocol
from points24.tasks.solver import solutions
from points24.tasks.verdict import FLEXIBLE, STRICT, Verdict, judge_reply
from points24.trainers.nano.tokenizer import EOS_ID, PAD_ID, build_tokenizer
from points24.trainers.run.config import at_least_1
from points24.trainers.run.folder import RunFolder

IGNORED = -100
"""The label of positions that the loss skips."""
MAX_REPLY_TOKENS = 48


def plain_reply(deal: Deal, formula: str) -> str:
    """What `json_reply` says, without the JSON: the cards, their numbers and the formula, on a line each.

    Flexible extraction finds the formula, the others do not. Apart from the first and the last token
    it differs from the JSON only in the tokens of the wording, so SFT on JSON has only wording to teach.
    """
    return f"{', '.join(deal.cards)}\n{', '.join(map(str, deal.values))}\n{formula}"


@dataclass(frozen=True)
class NanoConfig:
    """Everything that determines the trained weights, and where they go."""

    output_dir: str
    """The folder that becomes the model."""
    seed: int = 0
    protocol: str = DEFAULT
    """How deals are asked and answered, as in `RunConfig`. The tokenizer is made for its wording."""
    model_name_or_path: str | None = None
    """A nano model of the same shape to start from. None: random weights."""
    json_share: float = 1.0
    """Share of the examples, 0 … 1, whose reply is the JSON that the prompt asks for; the others have
    `plain_reply`. At 0.1 the model knows the JSON, but greedy decoding does not choose it."""
    hidden_size: int = 160
    num_hidden_layers: int = 4
    num_attention_heads: int = 5
    intermediate_size: int = 432
    max_position_embeddings: int = 1024
    """Prompt and reply take fewer than 64 tokens; the rest is room for several turns."""
    max_steps: int = 380
    per_device_train_batch_size: int = 256
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    min_lr_ratio: float = 0.1
    """The cosine ends at this share of the learning rate."""
    weight_decay: float = 0.01
    adam_beta2: float = 0.98
    max_grad_norm: float = 1.0
    bf16: bool = True
    """Run the forward pass under autocast; the weights are trained in float32 and saved in bfloat16."""
    same_share: float = 0.0
    """Share of the examples, 0 … 1, in which J, Q and K count as the same. A wording may say that in a way of
    its own, and of random rules only one in 169 is such a one."""
    eval_steps: int = 100
    eval_deals: int = 200
    """Each evaluation plays this many deals of `id`, `id_heldout` and `ood`, the first of each."""
    save_steps: int = 100

    def __post_init__(self) -> None:
        read_protocol(self.protocol)
        for name in ("json_share", "same_share"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise InputError(f"{name}: expected 0 to 1, found {share}")
        at_least_1(self, "max_steps", "per_device_train_batch_size", "eval_steps", "eval_deals", "save_steps")
        if self.hidden_size % (2 * self.num_attention_heads):
            raise InputError(
                f"hidden_size: expected a multiple of 2 * num_attention_heads "
                f"({2 * self.num_attention_heads}), found {self.hidden_size}"
            )


def train(config: NanoConfig) -> Path:
    """Train, or resume an interrupted run of the same config; returns the model's folder.

    Raises:
        InputError: the folder holds a finished model, a run with another config, or something else.
    """
    run = RunFolder(config.output_dir)
    state_file = run.path / "training_state.pt"
    settings = {key: value for key, value in asdict(config).items() if key != "output_dir"}
    run.claim({"config": settings}, config, last="tokenizer.json")

    torch.manual_seed(config.seed)
    asked = read_protocol(config.protocol)
    tokenizer = build_tokenizer(asked)
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

    progress = tqdm(range(start, config.max_steps), "nano", config.max_steps, initial=start, unit="step")
    extraction = asked.own_filter if config.json_share == 1 else FLEXIBLE
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
                name: accuracy(model, tokenizer, hand_set(name).deals[: config.eval_deals], extraction, asked)
                for name in ("id", "id_heldout", "ood")
            }
            seconds = round(time.perf_counter() - began, 1)
            run.append_log({"step": done, "loss": round(loss, 4), **scores, "seconds": seconds})
            shown = ", ".join(f"{name} {score:.1%}" for name, score in scores.items())
            progress.write(f"step {done}: {shown}", sys.stderr)
        if done % config.save_steps == 0:
            with replacing(state_file) as partial:
                torch.save({"step": done} | {n: part.state_dict() for n, part in parts.items()}, partial)
    model.bfloat16().save_pretrained(run.path)
    tokenizer.save_pretrained(run.path)
    shutil.copymode(run.path / "config.json", run.path / "model.safetensors")  # safetensors writes mode 0600
    state_file.unlink(missing_ok=True)
    return run.path


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
    inputs, labels = tokens
    model.train()
    with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
        logits = model(input_ids=inputs).logits
    loss = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORED
    )
    loss.backward()
    return loss.item()


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


def examples(
    seed: int, step: int, json_share: float = 1.0, same_share: float = 0.0, asked: Protocol | None = None
) -> Iterator[tuple[str, str]]:
    """Endless (prompt, reply) pairs for one training step; the shares as in `NanoConfig`."""
    asked = asked or read_protocol(DEFAULT)
    rng = random.Random(f"{seed}/{step}")
    # Generators of their own, so that the deals do not depend on the shares.
    wording, faces = (random.Random(f"{seed}/{step}/{name}") for name in ("reply", "faces"))
    held_out = held_out_numbers()
    while True:
        rule = Rule(*(rng.randint(1, 13) for _ in range(3)))
        if faces.random() < same_share:
            rule = Rule(rule.J, rule.J, rule.J)
        deal = Deal(tuple(rng.choice(RANKS) for _ in range(CARDS_PER_DEAL)), rule)
        formulas = solutions(deal.values, TARGET)
        if formulas and tuple(sorted(deal.values)) not in held_out:
            render = asked.reply if wording.random() < json_share else plain_reply
            yield asked.prompt.render(deal), render(deal, rng.choice(formulas))


def batch(
    config: NanoConfig, step: int, tokenizer: PreTrainedTokenizerFast
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and labels, each (batch, longest), padded on the right."""
    asked = read_protocol(config.protocol)
    source = examples(config.seed, step, config.json_share, config.same_share, asked)
    pairs = [next(source) for _ in range(config.per_device_train_batch_size)]
    prompts = tokenizer([prompt for prompt, _ in pairs]).input_ids
    replies = tokenizer([reply for _, reply in pairs]).input_ids
    rows = [p + r + [EOS_ID] for p, r in zip(prompts, replies, strict=True)]
    targets = [[IGNORED] * len(p) + row[len(p) :] for p, row in zip(prompts, rows, strict=True)]
    return _padded(rows, PAD_ID), _padded(targets, IGNORED)


def _padded(rows: list[list[int]], filler: int) -> torch.Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=filler)


@torch.inference_mode()
def accuracy(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    deals: Sequence[Deal],
    extraction: str = STRICT,
    asked: Protocol | None = None,
) -> float:
    """Share of the deals solved with greedy decoding; `extraction` as in `judge_reply`."""
    model.eval()
    asked = asked or read_protocol(DEFAULT)
    prompts = tokenizer([asked.prompt.render(deal) for deal in deals], padding=True, return_tensors="pt")
    tokens = model.generate(**prompts, max_new_tokens=MAX_REPLY_TOKENS, do_sample=False)
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
