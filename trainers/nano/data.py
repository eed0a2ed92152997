"""What a nano model is trained on: prompts and replies, without end, drawn from a seed and a step."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast

from points24.tasks.cards import CARDS_PER_DEAL, RANKS, TARGET, Deal, Rule
from points24.tasks.hand_sets import development_numbers, held_out_numbers
from points24.tasks.prompts import template
from points24.tasks.solver import solutions
from points24.tasks.working import wander, worked
from points24.trainers.nano.config import NanoConfig
from points24.trainers.nano.tokenizer import EOS_ID, PAD_ID

IGNORED = -100
"""The label of positions that the loss skips."""
MAX_TARGET = 60


def plain_reply(deal: Deal, formula: str) -> str:
    """What `json_reply` says, without the JSON: the cards, their numbers and the formula, on a line each.

    Flexible extraction finds the formula, the others do not. Apart from the first and the last token
    it differs from the JSON only in the tokens of the wording, so SFT on JSON has only wording to teach.
    """
    return f"{', '.join(deal.cards)}\n{', '.join(map(str, deal.values))}\n{formula}"


def examples(config: NanoConfig, step: int) -> Iterator[tuple[str, str]]:
    """Endless (prompt, reply) pairs for one training step."""
    asked, source = config.asked, f"{config.seed}/{step}"
    # Generators of their own, so that the cards and rules do not depend on the other settings.
    purposes = ("", "/reply", "/faces", "/targets", "/ways", "/working", "/sizes")
    rng, wording, faces, targets, ways, work, sizes = (
        random.Random(source + purpose) for purpose in purposes
    )
    held_out = held_out_numbers(config.hold_out_faces)
    if config.hold_out_faces:
        held_out |= development_numbers()
    size = None
    while True:
        # Once for an example, not for a try: three cards are solved less often.
        size = size or (3 if sizes.random() < config.three_share else CARDS_PER_DEAL)
        rule = Rule(*(rng.randint(1, 13) for _ in range(3)))
        if faces.random() < config.same_share:
            rule = Rule(rule.J, rule.J, rule.J)
        target = targets.randint(1, MAX_TARGET) if targets.random() < config.target_share else TARGET
        deal = Deal(tuple(rng.choice(RANKS) for _ in range(size)), rule, target)
        formulas = solutions(deal.values, target)
        if not formulas or tuple(sorted(deal.values)) in held_out:
            continue
        formula = rng.choice(formulas)
        if config.working != "none":
            formula = wander(deal, ways) or formula
        thought, formula = worked(deal, formula, config.working, work)
        answer = (asked.reply if wording.random() < config.json_share else plain_reply)(deal, formula)
        prompt = asked.prompt if size == CARDS_PER_DEAL else template("counted")
        yield prompt.render(deal), thought + answer
        size = None


def batch(
    config: NanoConfig, step: int, tokenizer: PreTrainedTokenizerFast
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and labels, each (batch, longest), padded on the right. Labelled is the reply."""
    pairs = list(islice(examples(config, step), config.per_device_train_batch_size))
    prompts = tokenizer([prompt for prompt, _ in pairs]).input_ids
    replies = tokenizer([reply for _, reply in pairs]).input_ids
    rows = [prompt + reply + [EOS_ID] for prompt, reply in zip(prompts, replies, strict=True)]
    targets = [
        [IGNORED] * len(prompt) + reply + [EOS_ID] for prompt, reply in zip(prompts, replies, strict=True)
    ]
    return _padded(rows, PAD_ID), _padded(targets, IGNORED)


def by_length(
    inputs: torch.Tensor, labels: torch.Tensor, parts: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """A batch in parts with little padding, the shortest rows first; as one part it stays as it is."""
    if parts == 1:
        yield inputs, labels
        return
    lengths = (inputs != PAD_ID).sum(1)
    for rows in lengths.argsort(stable=True).chunk(parts):
        longest = int(lengths[rows].max())
        yield inputs[rows, :longest], labels[rows, :longest]


def _padded(rows: list[list[int]], filler: int) -> torch.Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=filler)
