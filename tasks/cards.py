"""Ranks, rules and deals: the vocabulary of the game.

A *rank* is a card's face, ``A 2 … 10 J Q K``. A *rule* says what J, Q and K count as (A is always 1). A
*hand* is a multiset of ranks, written as a tuple in rank order. A *deal* is a hand in the order shown, with
its rule and its target.

The same game is played with plain numbers instead of cards: the rule `NUMBERS` reads each card as the number
written on it. It is not among `RULES`, which are the rules that a model may confuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import Any, ClassVar, NamedTuple

from points24.tasks.errors import InputError

RANKS = ("A", "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K")
FACES = ("J", "Q", "K")
CARDS_PER_DEAL = 4
"""Cards of the game of 24."""
FEWEST, MOST = 3, 6
"""Cards of any deal."""
TARGET = 24

Hand = tuple[str, ...]

_PLACE = {rank: place for place, rank in enumerate(RANKS, start=1)}
_NUMBER = re.compile(r"[1-9]\d{0,2}", re.ASCII)
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

    about = "the cards count as"  # what comes before the values, in words
    reply_keys = frozenset({"cards", "number", "formula"})

    @property
    def letters(self) -> dict[str, int]:
        """What the letters on cards count as."""
        return {"A": 1, "J": self.J, "Q": self.Q, "K": self.K}

    @property
    def rivals(self) -> tuple[Rule, ...]:
        """The rules that a model may follow instead."""
        return tuple(RULES.values())

    def value(self, card: str) -> int:
        """What a card counts as.

        Raises:
            InputError: unknown rank.
        """
        if card not in _PLACE:
            raise InputError(f"unknown rank {card!r}; allowed: {' '.join(RANKS)}")
        return getattr(self, card) if card in FACES else _PLACE[card]

    def stated(self, cards: Sequence[str]) -> dict[str, list[Any]]:
        """What a reply repeats of its deal, by its key."""
        return {"cards": list(cards), "number": [self.value(card) for card in cards]}


@dataclass(frozen=True)
class PlainNumbers:
    """The rule for numbers without cards; it has what `Rule` has."""

    name: ClassVar = "numbers"
    about: ClassVar = "the numbers are"
    reply_keys: ClassVar = frozenset({"numbers", "formula"})
    letters: ClassVar[Mapping[str, int]] = {}
    rivals: ClassVar[tuple[Rule, ...]] = ()

    def value(self, card: str) -> int:
        """The number that is written.

        Raises:
            InputError: it is no whole number from 1 to 999.
        """
        if not _NUMBER.fullmatch(card):
            raise InputError(f"expected whole numbers from 1 to 999, found {card!r}")
        return int(card)

    def stated(self, cards: Sequence[str]) -> dict[str, list[Any]]:
        """What a reply repeats of its deal, by its key."""
        return {"numbers": [self.value(card) for card in cards]}


NUMBERS = PlainNumbers()
AnyRule = Rule | PlainNumbers

RULES: dict[str, Rule] = {
    "id": Rule(10, 10, 10),  # in distribution: the rule of fine-tuning
    "ood": Rule(11, 12, 13),  # out of distribution: a rule that fine-tuning never shows
}


def parse_rule(text: str) -> Rule:
    """Read the name of a rule for cards, or a mapping such as ``J=5,Q=7,K=9`` (values 1 to 999).

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


def parse_any_rule(text: str) -> AnyRule:
    """As `parse_rule`, or ``numbers``.

    Raises:
        InputError: the text is neither.
    """
    return NUMBERS if text.strip().lower() == NUMBERS.name else parse_rule(text)


@dataclass(frozen=True)
class Deal:
    """Cards in the order shown, their rule, and the number to reach.

    Raises:
        InputError: not 3 to 6 cards, a card that the rule does not know, or a target outside 1 to 9999.
    """

    cards: tuple[str, ...]
    rule: AnyRule
    target: int = TARGET

    def __post_init__(self) -> None:
        if not FEWEST <= len(self.cards) <= MOST:
            shown = " ".join(map(str, self.cards)) or "none"
            raise InputError(f"a deal has {FEWEST} to {MOST} cards, found {len(self.cards)}: {shown}")
        if not (isinstance(self.target, int) and 1 <= self.target <= 9999):
            raise InputError(f"the target is a whole number from 1 to 9999, found {self.target!r}")
        for card in self.cards:
            self.rule.value(card)  # refuses an unknown one

    @cached_property
    def values(self) -> tuple[int, ...]:
        """What each card counts as, in the order shown."""
        return tuple(map(self.rule.value, self.cards))

    def under(self, rule: AnyRule) -> Deal:
        """The same cards and target under another rule."""
        return Deal(self.cards, rule, self.target)


def parse_cards(cards: str | Iterable[str]) -> tuple[str, ...]:
    """Ranks from ``"K 5 A 2"``, ``"K,5,A,2"`` or a list, in upper case. `Deal` validates them."""
    words = re.split(r"[\s,]+", cards.strip()) if isinstance(cards, str) else cards
    return tuple(str(word).strip().upper() for word in words)


def hand_of(cards: Iterable[str]) -> Hand:
    """The cards as a hand: a tuple in rank order."""
    return tuple(sorted(cards, key=lambda card: _PLACE.get(card) or int(card)))


def all_hands(cards: Sequence[str] = RANKS, size: int = CARDS_PER_DEAL) -> list[Hand]:
    """Every multiset of so many of the cards, in their order; of four ranks there are 1,820."""
    return list(combinations_with_replacement(cards, size))


def has_face(cards: Iterable[str]) -> bool:
    return any(rank in FACES for rank in cards)
