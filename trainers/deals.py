"""The deals and replies that trainers draw: an endless stream that depends on the seed alone.

The stream is a sequence of passes. A pass holds each hand that trainers may draw once, in random order, with
its cards in random order. These are the hands of `id_seen` that have a solution under the rule, without those
whose numbers under the rule are held out (with J=5, the hand 2 3 4 J has the numbers 2 3 4 5).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from points24.tasks.cards import TARGET, Deal, Rule
from points24.tasks.hand_sets import hand_set, held_out_numbers
from points24.tasks.prompts import Template
from points24.tasks.protocols.protocol import Protocol
from points24.tasks.solver import solutions

SOLUTIONS = ("random", "shortest", "all")
"""Which solutions of a hand become replies in a pass: one at random, the shortest (of several, the first in
alphabetical order), or each of them once."""


def deals(rule: Rule, seed: int) -> Iterator[Deal]:
    """Endless deals."""
    for hands, rng in _passes(rule, seed):
        for deal in hands:
            yield _shuffled(deal, rng)


def examples(rule: Rule, policy: str, seed: int) -> Iterator[tuple[Deal, str]]:
    """Endless deals, each with a formula that solves it; `policy` is one of `SOLUTIONS`."""
    for hands, rng in _passes(rule, seed):
        pairs = [
            (deal, formula)
            for deal in hands
            for formula in _chosen(policy, solutions(deal.values, TARGET), rng)
        ]
        for deal, formula in rng.sample(pairs, len(pairs)):
            yield _shuffled(deal, rng), formula


def prompt_row(deal: Deal, wording: Template, chat: bool) -> dict[str, Any]:
    """TRL's ``prompt`` column: the prompt that lm-eval sends, as plain text or as one user message."""
    text = wording.render(deal)
    return {"prompt": [{"role": "user", "content": text}] if chat else text}


def completion_row(
    deal: Deal, formula: str, asked: Protocol, chat: bool, thought: str = ""
) -> dict[str, Any]:
    """TRL's ``completion`` column: what was thought, and the reply that the protocol asks for."""
    reply = thought + asked.reply(deal, formula)
    return {"completion": [{"role": "assistant", "content": reply}] if chat else reply}


def _passes(rule: Rule, seed: int) -> Iterator[tuple[list[Deal], random.Random]]:
    seen = hand_set("id_seen", rule).deals
    hands = [deal for deal in seen if tuple(sorted(deal.values)) not in held_out_numbers()]
    number = 0
    while True:
        rng = random.Random(f"{seed}/{number}")
        yield rng.sample(hands, len(hands)), rng
        number += 1


def _shuffled(deal: Deal, rng: random.Random) -> Deal:
    return Deal(tuple(rng.sample(deal.cards, len(deal.cards))), deal.rule, deal.target)


def _chosen(policy: str, found: tuple[str, ...], rng: random.Random) -> tuple[str, ...]:
    if policy == "random":
        return (rng.choice(found),)
    return found[:1] if policy == "shortest" else found
