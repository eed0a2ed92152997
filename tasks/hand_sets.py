"""The named hand sets: which deals are asked, in which order, and how often the paper's sampler deals them.

Hand sets are generated, so anyone can recompute their digests. Most hold every qualifying hand exactly once.
Hands, and the cards within a deal, are ordered by hash: the first n deals (``lm_eval --limit n``) are a fair
sample, and every set and rule shows a hand in the same card order. Puzzles of numbers (`number_sets`) show
them as published, in ascending order.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import islice
from math import factorial, prod
from typing import Protocol, cast

from points24.tasks import number_sets
from points24.tasks.cards import (
    CARDS_PER_DEAL,
    FACES,
    NUMBERS,
    RANKS,
    RULES,
    TARGET,
    AnyRule,
    Deal,
    Hand,
    Rule,
    all_hands,
    has_face,
)
from points24.tasks.errors import InputError
from points24.tasks.solver import Numbers, one_solution, solutions, solvable

VERSION = 1
"""Goes up whenever the deals of a set, or their order, change."""

HELD_OUT_SHARE = 0.2
DEVELOPMENT_SHARE = 0.1
PAPER_SEED = 42
PAPER_DEALS = 234


@dataclass(frozen=True)
class HandSet:
    """Deals in a fixed order.

    Attributes:
        name: as in `HAND_SETS`.
        rule: what the cards count as.
        target: the number to reach; None where each deal has its own.
        deals: all solvable.
        weights: for each deal, how many of the paper's equally likely ordered draws give its hand; divided by
            their sum, the probability of the hand. Puzzles of numbers count alike.
        examples: for each deal a solution, where it takes long to list all.
        stated: the rule that the prompt states, where it is not the one that replies are judged by.
    """

    name: str
    rule: AnyRule
    target: int | None
    deals: tuple[Deal, ...]
    weights: tuple[int, ...]
    examples: tuple[str, ...] = ()
    stated: AnyRule | None = None

    def __len__(self) -> int:
        return len(self.deals)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over rule, target, and every deal with its weight, in order."""
        lines = [f"points24 hand set v{VERSION}", f"{self.rule.name} {self.target}"]
        lines += [f"stated {self.stated.name}"] if self.stated else []
        for deal, weight in zip(self.deals, self.weights, strict=True):
            own = f" {deal.target}" if self.target is None else ""
            lines.append(f"{' '.join(deal.cards)} {weight}{own}")
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def example(self, place: int) -> str:
        """A solution of a deal, the shortest of four cards or fewer."""
        if self.examples:
            return self.examples[place]
        deal = self.deals[place]
        if len(deal.cards) > CARDS_PER_DEAL:
            return cast(str, one_solution(deal.values, deal.target))
        return solutions(deal.values, deal.target)[0]


def uniform_weight(hand: Hand) -> int:
    """How many of the 13**4 ordered draws of four uniform ranks give the hand.

    The paper's environment deals so in distribution, and rejects unsolvable deals.
    """
    return _orders(hand)


def one_face_weight(hand: Hand) -> int:
    """How many of the 3 * 13**3 ordered draws of three uniform ranks and one of J, Q, K give the hand.

    The paper's environment deals so out of distribution, and rejects unsolvable deals.
    """
    counts = Counter(hand)
    return sum(_orders((counts - Counter([face])).elements()) for face in FACES if face in hand)


def _orders(items: Iterable[object]) -> int:
    """The number of distinct orders of the items."""
    counts = Counter(items)
    return factorial(counts.total()) // prod(map(factorial, counts.values()))


def _shuffled(hand: Hand) -> Hand:
    """The hand in the order in which it is shown."""
    places = sorted(range(len(hand)), key=lambda i: _hash("cards", (*hand, i)))
    return tuple(hand[i] for i in places)


def _hash(purpose: str, key: Sequence[object]) -> bytes:
    # Without the purpose, the first deals would be the held-out ones.
    return hashlib.sha256(f"{purpose}: {' '.join(map(str, key))}".encode()).digest()


class _Kind(Protocol):
    """How the deals of a hand set come about."""

    @property
    def about(self) -> str: ...

    def build(self, name: str, rule: AnyRule | None, target: int | None) -> HandSet:
        """The set; `rule` and `target` replace its own where it allows that.

        Raises:
            InputError: it does not, or no deal is left.
        """
        ...


@dataclass(frozen=True)
class _EachHand:
    """Every hand of a deck that qualifies and can be solved; rule and target can be replaced."""

    about: str
    rule: AnyRule
    qualifies: Callable[[Hand], bool] = lambda _: True
    weight: Callable[[Hand], int] = uniform_weight
    deck: Sequence[str] = RANKS
    shown: Callable[[Hand], Hand] = _shuffled
    size: int = CARDS_PER_DEAL
    most: int | None = None
    """Only the first so many that can be solved."""

    def build(self, name: str, rule: AnyRule | None, target: int | None) -> HandSet:
        rule, target = rule or self.rule, TARGET if target is None else target
        if type(rule) is not type(self.rule):
            allowed = "a rule for cards" if isinstance(self.rule, Rule) else f"rule {self.rule.name}"
            raise InputError(f"hand set {name!r}: expected {allowed}, found {rule.name}")
        dealt = filter(self.qualifies, all_hands(self.deck, self.size))
        solved = (
            hand
            for hand in sorted(dealt, key=partial(_hash, "deals"))
            if solvable(Deal(hand, rule, target).values, target)
        )
        hands = list(islice(solved, self.most))
        if not hands:
            raise InputError(f"hand set {name!r}: no hand reaches {target} under rule {rule.name}")
        deals = tuple(Deal(self.shown(hand), rule, target) for hand in hands)
        return HandSet(name, rule, target, deals, tuple(map(self.weight, hands)))


@dataclass(frozen=True)
class _Given:
    """Deals whose rule and target are fixed."""

    about: str
    rule: AnyRule
    deals: Callable[[], Iterable[Deal]]
    target: int | None = TARGET
    examples: Callable[[], Iterable[str]] = tuple
    stated: AnyRule | None = None

    def build(self, name: str, rule: AnyRule | None, target: int | None) -> HandSet:
        own = self.rule, self.target
        if (rule or self.rule, self.target if target is None else target) != own:
            raise InputError(f"hand set {name!r}: its rule and target are fixed")
        deals = tuple(self.deals())
        return HandSet(name, *own, deals, (1,) * len(deals), tuple(self.examples()), self.stated)


def _is_plain(hand: Hand) -> bool:
    return not has_face(hand)


def _numbers(hand: Hand, rule: str) -> Numbers:
    return tuple(sorted(map(RULES[rule].value, hand)))


def _is_held_out_face(hand: Hand) -> bool:
    return has_face(hand) and _numbers(hand, "ood") in held_out_numbers(faces=True)


def _is_development(hand: Hand) -> bool:
    return _numbers(hand, "id") in development_numbers()


def _is_development_face(hand: Hand) -> bool:
    return has_face(hand) and _numbers(hand, "ood") in development_numbers()


def is_held_out(hand: Hand) -> bool:
    """Whether the hand's numbers under the ID rule are held out from training."""
    return _numbers(hand, "id") in held_out_numbers()


def _contradictions() -> Iterable[Deal]:
    """The deals of `face_id` that the OOD rule solves as well."""
    return (
        deal for deal in hand_set("face_id").deals if solvable(deal.under(RULES["ood"]).values, deal.target)
    )


_KINDS: dict[str, _Kind] = {
    "id": _EachHand("every hand solvable with J=Q=K=10", RULES["id"]),
    "ood": _EachHand(
        "every hand with a face card, solvable with J=11, Q=12, K=13", RULES["ood"], has_face, one_face_weight
    ),
    "face_id": _EachHand(
        "every hand with a face card, under the ID rule", RULES["id"], has_face, one_face_weight
    ),
    "plain_ood": _EachHand("every hand without a face card, under the OOD rule", RULES["ood"], _is_plain),
    "id_seen": _EachHand(
        "the four fifths of `id` that trainers may draw", RULES["id"], lambda hand: not is_held_out(hand)
    ),
    "id_heldout": _EachHand("the fifth of `id` that no trainer may draw", RULES["id"], is_held_out),
    "ood_heldout": _EachHand(
        "the fifth of `ood` whose numbers the base nano-steps never saw",
        RULES["ood"],
        _is_held_out_face,
        one_face_weight,
    ),
    "id_dev": _EachHand(
        "hands of `id` on which the training of nano-steps was chosen; for no report",
        RULES["id"],
        _is_development,
    ),
    "ood_dev": _EachHand(
        "hands of `ood` on which the training of nano-steps was chosen; for no report",
        RULES["ood"],
        _is_development_face,
        one_face_weight,
    ),
    "contradiction": _Given(
        "hands with a face card that both rules solve; the prompt states the OOD rule, the ID rule judges",
        RULES["id"],
        _contradictions,
        stated=RULES["ood"],
    ),
    "five_cards": _EachHand("500 hands of five cards, under the ID rule", RULES["id"], size=5, most=500),
    "id_paper": _Given(
        "the 234 deals of the paper's ID evaluation, in its order, with repeats",
        RULES["id"],
        lambda: islice(_paper_deals(RULES["id"], one_face=False), PAPER_DEALS),
    ),
    "ood_paper": _Given(
        "the 234 deals of the paper's OOD evaluation, in its order, with repeats",
        RULES["ood"],
        lambda: islice(_paper_deals(RULES["ood"], one_face=True), PAPER_DEALS),
    ),
    "tot": _EachHand(
        "the Game of 24: every four numbers from 1 to 13 that can be solved",
        NUMBERS,
        weight=lambda _: 1,
        deck=number_sets.DECK,
        shown=lambda hand: hand,
    ),
    "tot_hard": _Given(
        "the 100 puzzles of the Game of 24 that Tree of Thoughts was tested on, in its order",
        NUMBERS,
        lambda: (Deal(hand, NUMBERS) for hand in number_sets.hard_puzzles()),
    ),
    "countdown": _Given(
        "Countdown: 3 to 6 numbers, and a target for each deal",
        NUMBERS,
        lambda: (solved.deal for solved in number_sets.countdown()),
        None,
        lambda: (solved.formula for solved in number_sets.countdown()),
    ),
}

HAND_SETS: dict[str, str] = {name: kind.about for name, kind in _KINDS.items()}
"""Name and meaning of every hand set."""


@lru_cache(maxsize=64)
def hand_set(name: str, rule: AnyRule | None = None, target: int | None = None) -> HandSet:
    """A hand set by name. `rule` and `target` replace its own; hands that they make unsolvable drop out.

    Raises:
        InputError: no such set, no solvable hand, or a rule or target that the set does not allow.
    """
    if name not in _KINDS:
        raise InputError(f"unknown hand set {name!r}; allowed: {', '.join(HAND_SETS)}")
    return _KINDS[name].build(name, rule, target)


@lru_cache(maxsize=2)
def held_out_numbers(faces: bool = False) -> frozenset[Numbers]:
    """Sorted values of the hands held out from training: 113 of 566 from 1 to 10 that solve to 24, by hash.

    With `faces` also 159 of the 796 with a value from 11 to 13, as face cards have under the OOD rule.
    """
    held_out = set(_by_hash(_plain_numbers(), 0, HELD_OUT_SHARE))
    if faces:
        held_out |= _by_hash(_face_numbers(), 0, HELD_OUT_SHARE)
    return frozenset(held_out)


@lru_cache(maxsize=1)
def development_numbers() -> frozenset[Numbers]:
    """Sorted values on which the length and the settings of nano-steps' training were chosen.

    57 from 1 to 10 and 80 with a value from 11 to 13: those that follow the held-out ones. Its training never
    shows them, and no report asks them apart from the others.
    """
    until = HELD_OUT_SHARE + DEVELOPMENT_SHARE
    return _by_hash(_plain_numbers(), HELD_OUT_SHARE, until) | _by_hash(
        _face_numbers(), HELD_OUT_SHARE, until
    )


def _plain_numbers() -> set[Numbers]:
    return {_numbers(hand, "id") for hand in all_hands() if not has_face(hand)}


def _face_numbers() -> set[Numbers]:
    return {_numbers(hand, "ood") for hand in all_hands() if has_face(hand)}


def _by_hash(numbers: Iterable[Numbers], start: float, end: float) -> frozenset[Numbers]:
    """Of those that solve to 24, in an order by hash, the share from `start` to `end`."""
    candidates = sorted((each for each in numbers if solvable(each, TARGET)), key=partial(_hash, "held out"))
    return frozenset(candidates[round(start * len(candidates)) : round(end * len(candidates))])


def _paper_deals(rule: Rule, *, one_face: bool) -> Iterator[Deal]:
    """Replay the random draws of the paper's evaluation code with seed 42.

    For each candidate deal its environment draws four ranks, shuffles them (only out of distribution), and
    draws four suits; then its solver shuffles the distinct orders of the four numbers. The first solvable
    deal is dealt in the constructor and never evaluated.
    """
    rng = random.Random(PAPER_SEED)
    first = True
    while True:
        ranks = [rng.randint(1, 13) for _ in range(CARDS_PER_DEAL - one_face)]
        if one_face:
            ranks.append(rng.randint(11, 13))
            rng.shuffle(ranks)
        for _ in range(CARDS_PER_DEAL):
            rng.choice("HSDC")
        deal = Deal(tuple(RANKS[r - 1] for r in ranks), rule)
        rng.shuffle([None] * _orders(deal.values))
        if solvable(deal.values, TARGET):
            if not first:
                yield deal
            first = False
