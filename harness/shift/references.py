"""The replies that a checkpoint is asked about, as tokens: nothing is generated here.

For every deal there is a reply that is right under the rule that the prompt states and, where the hand has a
face card and a solution, one that is right under a *rival* rule: the memorised one, or `ood` for a task under
the memorised rule itself. Both are the JSON object that the built-in prompt asks for, with the first of the
solver's solutions (the shortest, then the first in alphabetical order), which is also the task's target text.
An end-of-text token is not part of either.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from points24.tasks.cards import NUMBERS, RULES, Deal, Rule
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import HandSet
from points24.tasks.lm_eval.files import has_attempts, task_hands, task_names, task_protocol, task_template
from points24.tasks.prompts import Template, json_reply
from points24.tasks.solver import solutions

_NUMBERS = re.compile(r'"number": \[([^\]]*)\]')
_FORMULA = re.compile(r'"formula": "([^"]*)"')
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Asked:
    """The deals of a task, with the rule that they are weighed against."""

    task: str
    hands: HandSet
    deals: tuple[Deal, ...]
    rival: Rule
    chat: bool
    wording: Template


@dataclass(frozen=True)
class Tokens:
    """A prompt and a reply as one sequence of tokens."""

    name: str
    """The deal, for messages."""
    ids: tuple[int, ...]
    start: int
    """The place of the reply's first token; the token before is the prompt's last."""
    numbers: tuple[int, ...] = ()
    """Places of the tokens that hold a digit of the reply's list of numbers."""
    formula: tuple[int, ...] = ()
    """Places of the tokens that hold a character of the formula."""


def asked(task: str, *, wording: Template, chat: bool, limit: int | None, memorised: Rule) -> Asked:
    """What a task asks.

    Raises:
        InputError: there is no such task, or it is a group.
    """
    try:
        hands = task_hands(task)
    except KeyError as e:
        raise InputError(f"tasks: unknown task {task!r}; allowed: {', '.join(single_tasks())}") from e
    if hands.stated or task_template(task):
        allowed = ", ".join(single_tasks())
        raise InputError(f"tasks: {task} has a prompt of its own; allowed: {allowed}")
    if not hands.rule.rivals:
        raise InputError(f"tasks: {task} has no cards, and so no rule that was memorised")
    rival = RULES["ood"] if hands.rule == memorised else memorised
    return Asked(task, hands, hands.deals[:limit], rival, chat, wording)


def single_tasks() -> list[str]:
    """The tasks of four cards that have one reply per deal, without groups."""
    found = []
    for name in task_names():
        try:
            hands = task_hands(name)
        except KeyError:
            continue
        odd = has_attempts(name) or task_protocol(name) == NUMBERS.name or task_template(name) or hands.stated
        found += [] if odd else [name]
    return found


def right_reply(deal: Deal) -> str | None:
    """The reference reply under the deal's own rule; None where the deal has no solution."""
    found = solutions(deal.values, deal.target)
    return json_reply(deal, found[0]) if found else None


def rival_reply(deal: Deal, rival: Rule) -> str | None:
    """The reply that is right under another rule; None where its numbers are the same, or none solves."""
    other = deal.under(rival)
    return None if other.values == deal.values else right_reply(other)


def prompt_text(deal: Deal, what: Asked, tokenizer: Any) -> str:
    """The prompt as lm-eval sends it: plain, or as one user message in the model's chat template."""
    text = what.wording.render(deal)
    if not what.chat:
        return text
    message = [{"role": "user", "content": text}]
    return tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)


def tokens(deal: Deal, prompt: str, reply: str, tokenizer: Any) -> Tokens:
    """Prompt and reply, tokenised together.

    A token belongs to the reply if it ends behind the prompt, by the tokenizer's character offsets; so one
    that spans the border is predicted from what lies before it. Special tokens are added as lm-eval adds
    them: by the tokenizer's own default, and no second begin-of-text token.

    Raises:
        InputError: the tokenizer gives no offsets, or no token lies before the reply.
    """
    text, begin = prompt + reply, getattr(tokenizer, "bos_token", None)
    if not tokenizer.is_fast:
        raise InputError(f"{type(tokenizer).__name__} gives no character offsets; expected a fast tokenizer")
    plain = {"add_special_tokens": False} if begin and text.startswith(begin) else {}
    encoded = tokenizer(text, return_offsets_mapping=True, **plain)
    spans: Sequence[tuple[int, int]] = encoded["offset_mapping"]
    mine = [place for place, (_, end) in enumerate(spans) if end > len(prompt)]
    start, stop = mine[0], mine[-1] + 1  # an end-of-text token, which has no characters, may follow
    if start == 0:
        raise InputError("the tokenizer puts no token before the reply")
    listed = _NUMBERS.search(reply)
    digits = [m.span() for m in _NUMBER.finditer(reply, *listed.span(1))] if listed else []
    formula = _FORMULA.search(reply)

    def holding(parts: Sequence[tuple[int, int]]) -> tuple[int, ...]:
        moved = [(low + len(prompt), high + len(prompt)) for low, high in parts]
        return tuple(
            place
            for place in range(start, stop)
            if any(spans[place][0] < high and spans[place][1] > low for low, high in moved)
        )

    ids = tuple(encoded["input_ids"][:stop])
    name = f"deal {' '.join(deal.cards)}"
    return Tokens(name, ids, start, holding(digits), holding([formula.span(1)] if formula else []))
