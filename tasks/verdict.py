"""Deal and formula -> verdict."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from points24.tasks import formula as grammar
from points24.tasks.cards import AnyRule, Deal
from points24.tasks.errors import InputError
from points24.tasks.paper_match import extract_paper, parse_paper
from points24.tasks.replies import extract_flexible, extract_strict

STRICT, FLEXIBLE, PAPER = "strict-match", "flexible-extract", "paper-match"
FILTERS = (STRICT, FLEXIBLE)
"""The filters of the protocol `points24`."""

_DIVIDES = re.compile(r"[/÷\\]")
"""A division in any of the spellings that a grammar takes."""


class Extraction(NamedTuple):
    """How a formula is found in a reply, and read."""

    extract: Callable[[str, Deal], str | None]
    """Reply -> formula text; None where there is none."""
    parse: Callable[[str, Deal], grammar.Expression]
    """Raises `FormulaError`."""


def _extract_flexible(reply: str, deal: Deal) -> str | None:
    return extract_flexible(reply, len(deal.cards), deal.target)


def _extract_strict(reply: str, deal: Deal) -> str | None:
    return extract_strict(reply, deal.rule.reply_keys)


def _parse_flexible(formula: str, deal: Deal) -> grammar.Expression:
    return grammar.parse_flexible(formula, deal.rule.letters, deal.target)


EXTRACTIONS: dict[str, Extraction] = {
    STRICT: Extraction(_extract_strict, lambda formula, _: grammar.parse(formula)),
    FLEXIBLE: Extraction(_extract_flexible, _parse_flexible),
    PAPER: Extraction(lambda reply, _: extract_paper(reply), lambda formula, _: parse_paper(formula)),
}
"""By the names of lm-eval's filters; see `replies` and `paper_match`."""


class Verdict(str, Enum):
    """The outcome of a reply: exactly one of these, checked from the last to the first."""

    CORRECT = "correct"
    """Uses each card once, at its value under the deal's rule, and equals the target exactly."""
    WRONG_RULE = "wrong_rule"
    """Correct under another named rule: the signature of a memorised rule."""
    WRONG_VALUE = "wrong_value"
    """Uses the right numbers, but misses the target or divides by zero."""
    WRONG_NUMBERS = "wrong_numbers"
    """A card is missing, added, used twice, or has another value."""
    ILLEGAL = "illegal"
    """The formula is not in the grammar."""
    NO_ANSWER = "no_answer"
    """The reply holds no formula."""


class Judgement(NamedTuple):
    """A verdict, the formula that was judged (None if there is none), and the reason in a few words."""

    verdict: Verdict
    formula: str | None
    reason: str
    correct_in_floats: bool = False
    """Whether the formula uses each card once and the float that Python computes for it equals the target."""


def judge(deal: Deal, formula: str | None, extraction: str = STRICT) -> Judgement:
    """Judge a formula.

    Args:
        deal: what was asked.
        formula: the text to judge; None if the reply held no formula.
        extraction: one of `EXTRACTIONS`, which selects the grammar.
    """
    if formula is None:
        return Judgement(Verdict.NO_ANSWER, None, "no formula found")
    try:
        tree = EXTRACTIONS[extraction].parse(formula, deal)
    except grammar.FormulaError as e:
        return Judgement(Verdict.ILLEGAL, formula, f"not a legal formula: {e}")
    used, wanted = sorted(grammar.numbers(tree)), sorted(deal.values)
    is_right = used == wanted and grammar.equals(tree, deal.target)
    # Without a division, Python's arithmetic is exact as well.
    in_floats = (
        equals_in_floats(tree, deal.target) if used == wanted and _DIVIDES.search(formula) else is_right
    )
    if is_right:
        return Judgement(Verdict.CORRECT, formula, f"equals {deal.target}", in_floats)
    if rule := _rule_followed(deal, formula, extraction, tree, used):
        return Judgement(Verdict.WRONG_RULE, formula, f"right under rule {rule.name}, not {deal.rule.name}")
    if used != wanted:
        shown = f"uses {_shown(used)}; {deal.rule.about} {_shown(wanted)}"
        return Judgement(Verdict.WRONG_NUMBERS, formula, shown)
    try:
        reason = f"equals {grammar.evaluate(tree)}, not {deal.target}"
    except ZeroDivisionError:
        reason = "divides by zero"
    return Judgement(Verdict.WRONG_VALUE, formula, reason, in_floats)


def _rule_followed(
    deal: Deal, formula: str, extraction: str, tree: grammar.Expression, used: list[int]
) -> AnyRule | None:
    """The other rule under which a wrong formula, which uses these numbers, is right.

    Only card letters mean something else under it: without any, the formula is not read again.
    """
    has_letters = any(letter in formula for letter in deal.rule.letters)
    for other, wanted in _rivals(deal):
        if has_letters:
            try:
                tree = EXTRACTIONS[extraction].parse(formula, other)
            except grammar.FormulaError:
                continue
            used = sorted(grammar.numbers(tree))
        if used == wanted and grammar.equals(tree, deal.target):
            return other.rule
    return None


@lru_cache(maxsize=2**14)
def _rivals(deal: Deal) -> list[tuple[Deal, list[int]]]:
    """The deal under each other rule that changes its numbers, with these in ascending order."""
    others = [deal.under(rule) for rule in deal.rule.rivals]
    return [(other, sorted(other.values)) for other in others if other.values != deal.values]


def equals_in_floats(tree: grammar.Expression, target: int) -> bool:
    """Whether Python's own arithmetic gives the target: ``8/(3-8/3)`` misses 24 by a rounding error."""
    try:
        return grammar.compute(tree, int) == target
    except (ZeroDivisionError, OverflowError):
        return False


def judge_reply(deal: Deal, reply: object, extraction: str = STRICT) -> Judgement:
    """Judge a model's whole reply.

    Args:
        deal: what was asked.
        reply: what came back; anything but text is no answer.
        extraction: one of `EXTRACTIONS`.

    Raises:
        InputError: unknown extraction.
    """
    if extraction not in EXTRACTIONS:
        raise InputError(f"unknown extraction {extraction!r}; allowed: {', '.join(EXTRACTIONS)}")
    formula = EXTRACTIONS[extraction].extract(reply, deal) if isinstance(reply, str) else None
    return judge(deal, formula, extraction)


def _shown(values: Sequence[int]) -> str:
    return " ".join(map(str, values))
