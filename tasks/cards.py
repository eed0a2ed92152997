"""Ranks, rules and deals: the vocabulary of the game.

A *rank* is a card's face, ``A 2 … 10 J Q K``. A *rule* says what J, Q and K count as (A is always 1). A
*hand* is a multiset of four ranks, written as a tuple in rank order. A *deal* is a hand in the order shown,
with its rule and its target.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import NamedTuple

from points24.tasks.errors import InputError

RANKS = ("A", "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K")
FACES = ("J", "Q", "K")
CARDS_PER_DEAL = 4
TARGET = 24

Hand = tuple[str, ...]

_ORDER = {rank: i for i, rank in enumerate(RANKS)}
_PLAIN = {rank: i for i, rank in enumerate(RANKS[:10], start=1)}
_RULE_SYNTAX = re.compile(r"J=(\d{1,3}),Q=(\d{1,3}),K=(\d{1,3})", re.IGNORECASE)


class Rule(NamedTuple):
    """What the face cards count as."""

    J: int
    Q: int
    K: int

    @property
    def name(self) -> str:
        """``id``, ``ood``, or a mapping such as ``J=5,Q=7,K=9``; `parse_rule` reads it back."""
        mapping = f"J={self.J},Q={self.Q},K={self.K}"
        return next((name for name, rule in RULES.items() if rule == self), mapping)

    def value(self, rank: str) -> int:
        return _PLAIN[rank] if rank in _PLAIN else getattr(self, rank)


RULES: dict[str, Rule] = {
    "id": Rule(10, 10, 10),  # in distribution: the rule of fine-tuning
    "ood": Rule(11, 12, 13),  # out of distribution: a rule that fine-tuning never shows
}


def parse_rule(text: str) -> Rule:
    """Read a rule's name, or a mapping such as ``J=5,Q=7,K=9`` (values 1 to 999).

    Raises:
        InputError: the text is neither.
    """
    name = text.strip().lower()
    if name in RULES:
        return RULES[name]
    mapping = _RULE_SYNTAX.fullmatch(re.sub(r"\s", "", text))
    values = [int(v) for v in mapping.groups()] if mapping else []
    if not values or min(values) < 1:
        raise InputError(
            f"unknown rule {text!r}; allowed: {', '.join(RULES)}, "
            "or a mapping with values from 1 to 999 such as J=5,Q=7,K=9"
        )
    return Rule(*values)


@dataclass(frozen=True)
class Deal:
    """Four cards in the order shown, their rule, and the number to reach.

    Raises:
        InputError: not four cards, an unknown rank, or a target outside 1 to 9999.
    """

    cards: tuple[str, ...]
    rule: Rule
    target: int = TARGET

    def __post_init__(self) -> None:
        if len(self.cards) != CARDS_PER_DEAL:
            shown = " ".join(map(str, self.cards)) or "none"
            raise InputError(f"a deal has {CARDS_PER_DEAL} cards, found {len(self.cards)}: {shown}")
        if not (isinstance(self.target, int) and 1 <= self.target <= 9999):
            raise InputError(f"the target is a whole number from 1 to 9999, found {self.target!r}")
        for rank in self.cards:
            if rank not in _ORDER:
                raise InputError(f"unknown rank {rank!r}; allowed: {' '.join(RANKS)}")

    @cached_property
    def values(self) -> tuple[int, ...]:
        """What each card counts as, in the order shown."""
        return tuple(map(self.rule.value, self.cards))

    def under(self, rule: Rule) -> Deal:
        """The same cards and target under another rule."""
        return Deal(self.cards, rule, self.target)


def parse_cards(cards: str | Iterable[str]) -> tuple[str, ...]:
    """Ranks from ``"K 5 A 2"``, ``"K,5,A,2"`` or a list, in upper case. `Deal` validates them."""
    words = re.split(r"[\s,]+", cards.strip()) if isinstance(cards, str) else cards
    return tuple(str(word).strip().upper() for word in words)


def hand_of(cards: Iterable[str]) -> Hand:
    """The cards as a hand: a tuple in rank order."""
    return tuple(sorted(cards, key=_ORDER.__getitem__))


def all_hands() -> list[Hand]:
    """Every hand: the 1,820 multisets of four ranks, in rank order."""
    return list(combinations_with_replacement(RANKS, CARDS_PER_DEAL))


def has_face(cards: Iterable[str]) -> bool:
    return any(rank in FACES for rank in cards)
