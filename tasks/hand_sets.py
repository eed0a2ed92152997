"""The named hand sets: which deals are asked, in which order, and how often the paper's sampler deals them.

A hand set is made by code alone, so it has a digest that anyone can recompute. Except for the replayed
sets of the paper it holds every hand that qualifies exactly once. Hands and the cards within a deal are
ordered by hash: the first n deals (``lm_eval --limit n``) are a fair sample, and a hand is shown in the
same card order in every set, whatever the rule.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import islice
from math import factorial, prod

from points24.tasks.cards import (
    CARDS_PER_DEAL,
    FACES,
    RANKS,
    RULES,
    TARGET,
    Deal,
    Hand,
    Rule,
    all_hands,
    has_face,
)
from points24.tasks.errors import InputError
from points24.tasks.solver import Numbers, solvable

VERSION = 1
"""Goes up whenever any set's deals or their order change."""

HELD_OUT_SHARE = 0.2
PAPER_SEED = 42
PAPER_DEALS = 234


@dataclass(frozen=True)
class HandSet:
    """Deals in a fixed order.

    Attributes:
        name: the set's name, as in `HAND_SETS`.
        rule: what J, Q and K count as.
        target: the number to reach.
        deals: the deals, each solvable.
        weights: for each deal, the number of equally likely ordered draws of the paper's sampler that give
            its hand; divided by their sum they are the probabilities that the hand is dealt.
    """

    name: str
    rule: Rule
    target: int
    deals: tuple[Deal, ...]
    weights: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.deals)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over rule, target, and every deal with its weight, in order."""
        lines = [f"points24 hand set v{VERSION}", f"{self.rule.name} {self.target}"]
        lines += [
            f"{' '.join(deal.cards)} {weight}" for deal, weight in zip(self.deals, self.weights, strict=True)
        ]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def uniform_weight(hand: Hand) -> int:
    """Ordered draws, out of 13**4, that give the hand when all four ranks are drawn uniformly.

    This is how the paper's environment deals in distribution; it then rejects what cannot be solved.
    """
    return _orders(hand)


def one_face_weight(hand: Hand) -> int:
    """Ordered draws, out of 3 * 13**3, that give the hand when one of the four ranks is drawn from J, Q, K.

    This is how the paper's environment deals out of distribution (three uniform ranks and one face card,
    shuffled); it then rejects what cannot be solved.
    """
    return sum(_orders(_without(hand, face)) for face in FACES if face in hand)


def _orders(hand: Sequence[object]) -> int:
    return factorial(len(hand)) // prod(map(factorial, Counter(hand).values()))


def _without(hand: Hand, rank: str) -> Hand:
    place = hand.index(rank)
    return hand[:place] + hand[place + 1 :]


@dataclass(frozen=True)
class _Definition:
    about: str
    rule: str
    qualifies: Callable[[Hand], bool]
    weight: Callable[[Hand], int] = uniform_weight


def _is_plain(hand: Hand) -> bool:
    return not has_face(hand)


def is_held_out(hand: Hand) -> bool:
    """Whether the hand's numbers under the ID rule are among those that no trainer may draw."""
    return tuple(sorted(map(RULES["id"].value, hand))) in held_out_numbers()


_DEFINITIONS = {
    "id": _Definition("every hand solvable with J=Q=K=10", "id", lambda _: True),
    "ood": _Definition(
        "every hand with a face card, solvable with J=11, Q=12, K=13", "ood", has_face, one_face_weight
    ),
    "face_id": _Definition("every hand with a face card, under the ID rule", "id", has_face, one_face_weight),
    "plain_ood": _Definition("every hand without a face card, under the OOD rule", "ood", _is_plain),
    "id_seen": _Definition(
        "the four fifths of `id` that trainers may draw", "id", lambda hand: not is_held_out(hand)
    ),
    "id_heldout": _Definition("the fifth of `id` that no trainer may draw", "id", is_held_out),
}

HAND_SETS: dict[str, str] = {name: recipe.about for name, recipe in _DEFINITIONS.items()} | {
    "id_paper": "the 234 deals of the paper's ID evaluation, in its order, with repeats",
    "ood_paper": "the 234 deals of the paper's OOD evaluation, in its order, with repeats",
}
"""Name and meaning of every hand set."""


@lru_cache(maxsize=64)
def hand_set(name: str, rule: Rule | None = None, target: int = TARGET) -> HandSet:
    """A hand set by name; `rule` and `target` replace the set's own, keeping only what they can solve.

    Raises:
        InputError: no such set, nothing in it is solvable, or a paper set under another rule or target.
    """
    if name not in HAND_SETS:
        raise InputError(f"unknown hand set {name!r}; allowed: {', '.join(HAND_SETS)}")
    if name not in _DEFINITIONS:
        own = RULES[name.removesuffix("_paper")]
        if (rule or own, target) != (own, TARGET):
            raise InputError(f"hand set {name!r} is a replay: its rule and target are fixed")
        deals = tuple(islice(_paper_deals(own, one_face=name == "ood_paper"), PAPER_DEALS))
        return HandSet(name, own, TARGET, deals, (1,) * len(deals))
    recipe = _DEFINITIONS[name]
    rule = rule or RULES[recipe.rule]
    hands = [
        hand
        for hand in sorted(filter(recipe.qualifies, all_hands()), key=partial(_hash, "deals"))
        if solvable(Deal(hand, rule, target).values, target)
    ]
    if not hands:
        raise InputError(f"hand set {name!r}: no hand reaches {target} under rule {rule.name}")
    return HandSet(
        name,
        rule,
        target,
        tuple(Deal(_shown(hand), rule, target) for hand in hands),
        tuple(map(recipe.weight, hands)),
    )


@lru_cache(maxsize=1)
def held_out_numbers() -> frozenset[Numbers]:
    """The number hands (sorted values 1 to 10, solvable for 24) set aside: 113 of 566, by hash."""
    plain = {Deal(hand, RULES["id"]).values for hand in all_hands() if _is_plain(hand)}
    candidates = [numbers for numbers in plain if solvable(numbers, TARGET)]
    candidates.sort(key=partial(_hash, "held out"))
    return frozenset(candidates[: round(HELD_OUT_SHARE * len(candidates))])


def _paper_deals(rule: Rule, *, one_face: bool) -> Iterator[Deal]:
    """Replay the random draws of the paper's evaluation (its code, seed 42) without its code.

    For each candidate deal its environment draws four ranks, then (out of distribution) shuffles them, then
    four suits, and its solver shuffles the distinct orders of the four numbers. The first solvable deal is
    dealt in the constructor and never evaluated.
    """
    rng = random.Random(PAPER_SEED)
    dealt = 0
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
            if dealt:
                yield deal
            dealt += 1


def _shown(hand: Hand) -> Hand:
    """The hand in the order in which it is dealt."""
    places = sorted(range(len(hand)), key=lambda i: _hash("cards", (*hand, i)))
    return tuple(hand[i] for i in places)


def _hash(purpose: str, key: Sequence[object]) -> bytes:
    # Without the purpose, the deals that come first would be the held-out ones.
    return hashlib.sha256(f"{purpose}: {' '.join(map(str, key))}".encode()).digest()
