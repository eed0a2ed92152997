"""(deal, reply) -> reward and judgement: the one pure function behind every adapter."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from points24.tasks.cards import Deal, parse_any_rule, parse_cards
from points24.tasks.errors import InputError
from points24.tasks.rewards.tables import Reward, Table, rewards
from points24.tasks.verdict import FLEXIBLE, Judgement, judge_reply

DEFAULT_TABLE = "sparse"
DEFAULT_EXTRACTION = FLEXIBLE
"""Any prompt will do; `STRICT` also rewards the reply format of the built-in one."""

DEAL_KEYS = ("cards", "rule", "target")
Adapter = TypeVar("Adapter", bound=Callable[..., Any])


class Earned(NamedTuple):
    """What a reply earns, and why."""

    reward: float
    judgement: Judgement


def judged(
    deal: Deal, reply: object, table: Table | Reward = DEFAULT_TABLE, extraction: str = DEFAULT_EXTRACTION
) -> Earned:
    """The reward of a reply.

    Args:
        deal: what was asked.
        reply: the model's text; anything else is no answer.
        table: ``sparse``, ``verdict`` or ``paper`` (see `points24.tasks.rewards.tables`), a reward for every
            verdict, or a function of deal and judgement.
        extraction: one of `points24.tasks.verdict.EXTRACTIONS`.

    Raises:
        InputError: unknown table or extraction.
    """
    judgement = judge_reply(deal, reply, extraction)
    pay = table if callable(table) else rewards(table)
    return Earned(pay(deal, judgement), judgement)


def using(adapter: Adapter, *, table: Table = DEFAULT_TABLE, extraction: str = DEFAULT_EXTRACTION) -> Adapter:
    """An adapter with another reward table or extraction; it keeps its name, which trainers log.

    Raises:
        InputError: unknown table or extraction; better now than in the first step of training.
    """
    own = functools.partial(adapter, table=checked(table, extraction), extraction=extraction)
    return functools.update_wrapper(own, adapter)  # pyright: ignore[reportReturnType]: the same, with defaults


def checked(table: Table, extraction: str) -> Reward:
    """The reward of a table, read once.

    Raises:
        InputError: unknown table or extraction.
    """
    judge_reply(_PROBE, "", extraction)
    return rewards(table)


def deal_of(cards: object, rule: object, target: object) -> Deal:
    """The deal in the columns ``cards``, ``rule`` and ``target`` of a row.

    Raises:
        InputError: a column is missing (None), or its value is no hand, rule or target.
    """
    try:
        return _deal(cards if isinstance(cards, str) else tuple(cards), rule, target)  # pyright: ignore[reportArgumentType]: may raise
    except TypeError as e:  # not iterable, or not hashable
        found = {"cards": cards, "rule": rule, "target": target}
        raise InputError(f"expected a list of ranks, a rule's name and a whole number, found {found}") from e


def deal_in(label: object) -> Deal:
    """The deal in a label: the JSON text of `label_of`, or the decoded object.

    Raises:
        InputError: it is no deal.
    """
    if isinstance(label, str):
        return _labelled(label)
    if not isinstance(label, Mapping) or not label.keys() >= set(DEAL_KEYS):
        raise InputError(f"label: expected an object with {', '.join(DEAL_KEYS)}, found {label!r:.80}")
    return deal_of(*(label[key] for key in DEAL_KEYS))


def columns_of(deal: Deal) -> dict[str, Any]:
    """The columns from which `deal_of` rebuilds a deal."""
    return {"cards": list(deal.cards), "rule": deal.rule.name, "target": deal.target}


def label_of(deal: Deal) -> str:
    """The deal in one text, for trainers that have a single column for the truth."""
    return json.dumps(columns_of(deal))


def reply_of(completion: object) -> object:
    """The text to judge: a completion itself, or the last message of a conversation."""
    if isinstance(completion, Sequence) and not isinstance(completion, str) and completion:
        last = completion[-1]
        return last.get("content") if isinstance(last, Mapping) else getattr(last, "content", None)
    return completion


@functools.lru_cache(maxsize=2**16)
def _labelled(label: str) -> Deal:
    try:
        fields = json.loads(label)
    except (ValueError, RecursionError) as e:
        raise InputError(f"label: expected a deal as JSON, found {label!r:.80}") from e
    return deal_in(None if isinstance(fields, str) else fields)


@functools.lru_cache(maxsize=2**16)
def _deal(cards: str | tuple[str, ...], rule: object, target: object) -> Deal:
    if rule is None or target is None:
        missing = [name for name, value in (("rule", rule), ("target", target)) if value is None]
        raise InputError(f"no column {', '.join(missing)}")
    return Deal(parse_cards(cards), parse_any_rule(str(rule)), target)  # pyright: ignore[reportArgumentType]: checked


_PROBE = deal_of(("3", "3", "8", "8"), "id", 24)
