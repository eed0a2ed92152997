"""The named hand sets: which deals are asked, in which order, and how often the paper's sampler deals them.

Hand sets are generated, so anyone can recompute their digests. Except for the paper's own deals, a set holds
every qualifying hand exactly once. Hands, and the cards within a deal, are ordered by hash: the first n deals
(``lm_eval --limit n``) are a fair sample, and every set and rule shows a hand in the same card order.
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
"""Goes up whenever the deals of a set, or their order, change."""

HELD_OUT_SHARE = 0.2
PAPER_SEED = 42
PAPER_DEALS = 234


@dataclass(frozen=True)
class HandSet:
    """Deals in a fixed order.

    Attributes:
        name: as in `HAND_SETS`.
        rule: what J, Q and K count as.
        target: the number to reach.
        deals: all solvable.
        weights: for each deal, how many of the paper's equally likely ordered draws give its hand; divided by
            their sum, the probability of the hand.
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


@dataclass(frozen=True)
class _Definition:
    about: str
    rule: str
    qualifies: Callable[[Hand], bool]
    weight: Callable[[Hand], int] = uniform_weight


def _is_plain(hand: Hand) -> bool:
    return not has_face(hand)


def _ood_numbers(hand: Hand) -> Numbers:
    return tuple(sorted(map(RULES["ood"].value, hand)))


def is_held_out(hand: Hand) -> bool:
    """Whether the hand's numbers under the ID rule are held out from training."""
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
    "ood_heldout": _Definition(
        "the fifth of `ood` whose numbers the base nano-steps never saw",
        "ood",
        lambda hand: has_face(hand) and _ood_numbers(hand) in held_out_numbers(faces=True),
        one_face_weight,
    ),
}

HAND_SETS: dict[str, str] = {name: definition.about for name, definition in _DEFINITIONS.items()} | {
    "id_paper": "the 234 deals of the paper's ID evaluation, in its order, with repeats",
    "ood_paper": "the 234 deals of the paper's OOD evaluation, in its order, with repeats",
}
"""Name and meaning of every hand set."""


@lru_cache(maxsize=64)
def hand_set(name: str, rule: Rule | None = None, target: int = TARGET) -> HandSet:
    """A hand set by name. `rule` and `target` replace its own; hands that they make unsolvable drop out.

    Raises:
        InputError: no such set, no solvable hand, or a paper set under another rule or target.
    """
    if name not in HAND_SETS:
        raise InputError(f"unknown hand set {name!r}; allowed: {', '.join(HAND_SETS)}")
    if name not in _DEFINITIONS:
        own = RULES[name.removesuffix("_paper")]
        if (rule or own, target) != (own, TARGET):
            raise InputError(f"hand set {name!r} is a replay: its rule and target are fixed")
        deals = tuple(islice(_paper_deals(own, one_face=name == "ood_paper"), PAPER_DEALS))
        return HandSet(name, own, TARGET, deals, (1,) * len(deals))
    definition = _DEFINITIONS[name]
    rule = rule or RULES[definition.rule]
    hands = [
        hand
        for hand in sorted(filter(definition.qualifies, all_hands()), key=partial(_hash, "deals"))
        if solvable(Deal(hand, rule, target).values, target)
    ]
    if not hands:
        raise InputError(f"hand set {name!r}: no hand reaches {target} under rule {rule.name}")
    deals = tuple(Deal(_shown(hand), rule, target) for hand in hands)
    return HandSet(name, rule, target, deals, tuple(map(definition.weight, hands)))


@lru_cache(maxsize=2)
def held_out_numbers(faces: bool = False) -> frozenset[Numbers]:
    """Sorted values of the hands held out from training: 113 of 566 from 1 to 10 that solve to 24, by hash.

    With `faces` also 159 of the 796 with a value from 11 to 13, as face cards have under the OOD rule.
    """
    held_out = set(_fifth({Deal(hand, RULES["id"]).values for hand in all_hands() if _is_plain(hand)}))
    if faces:
        held_out |= _fifth(
            {tuple(sorted(Deal(hand, RULES["ood"]).values)) for hand in all_hands() if has_face(hand)}
        )
    return frozenset(held_out)


def _fifth(numbers: Iterable[Numbers]) -> frozenset[Numbers]:
    """A fifth of those that solve to 24."""
    candidates = sorted((each for each in numbers if solvable(each, TARGET)), key=partial(_hash, "held out"))
    return frozenset(candidates[: round(HELD_OUT_SHARE * len(candidates))])


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


def _shown(hand: Hand) -> Hand:
    """The hand in the order in which it is shown."""
    places = sorted(range(len(hand)), key=lambda i: _hash("cards", (*hand, i)))
    return tuple(hand[i] for i in places)


def _hash(purpose: str, key: Sequence[object]) -> bytes:
    # Without the purpose, the first deals would be the held-out ones.
    return hashlib.sha256(f"{purpose}: {' '.join(map(str, key))}".encode()).digest()
