"""Deal and formula -> verdict."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from points24.tasks import formula as grammar
from points24.tasks import replies
from points24.tasks.cards import FACES, RULES, Deal
from points24.tasks.errors import InputError

STRICT, FLEXIBLE = FILTERS = ("strict-match", "flexible-extract")
"""How a formula is extracted from a reply, by the names of lm-eval's filters; see `replies`."""


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


def judge(deal: Deal, formula: str | None, extraction: str = STRICT) -> Judgement:
    """Judge a formula.

    Args:
        deal: what was asked.
        formula: the text to judge; None if the reply held no formula.
        extraction: one of `FILTERS`, which selects the grammar (see `formula`).
    """
    judgement = _under_its_rule(deal, formula, extraction)
    if judgement.verdict in (Verdict.WRONG_VALUE, Verdict.WRONG_NUMBERS):
        for name, rule in RULES.items():
            other = deal.under(rule)
            if other.values != deal.values and _is_correct(other, formula, extraction):
                return Judgement(
                    Verdict.WRONG_RULE, formula, f"right under rule {name}, not {deal.rule.name}"
                )
    return judgement


def _is_correct(deal: Deal, formula: str | None, extraction: str) -> bool:
    return _under_its_rule(deal, formula, extraction).verdict is Verdict.CORRECT


def _under_its_rule(deal: Deal, formula: str | None, extraction: str) -> Judgement:
    """The judgement by the deal's own rule, which is never `WRONG_RULE`."""
    if formula is None:
        return Judgement(Verdict.NO_ANSWER, None, "no formula found")
    try:
        if extraction == STRICT:
            tree = grammar.parse(formula)
        else:
            letters = {face: deal.rule.value(face) for face in ("A", *FACES)}
            tree = grammar.parse_flexible(formula, letters, deal.target)
    except grammar.FormulaError as e:
        return Judgement(Verdict.ILLEGAL, formula, f"not a legal formula: {e}")
    used = sorted(grammar.numbers(tree))
    if used != sorted(deal.values):
        shown = f"uses {_shown(used)}; the cards count as {_shown(deal.values)}"
        return Judgement(Verdict.WRONG_NUMBERS, formula, shown)
    try:
        value = grammar.evaluate(tree)
    except ZeroDivisionError:
        return Judgement(Verdict.WRONG_VALUE, formula, "divides by zero")
    if value == deal.target:
        return Judgement(Verdict.CORRECT, formula, f"equals {value}")
    return Judgement(Verdict.WRONG_VALUE, formula, f"equals {value}, not {deal.target}")


def judge_reply(deal: Deal, reply: object, extraction: str = STRICT) -> Judgement:
    """Judge a model's whole reply.

    Args:
        deal: what was asked.
        reply: what came back; anything but text is no answer.
        extraction: one of `FILTERS`; see `replies`.

    Raises:
        InputError: unknown extraction.
    """
    if extraction not in FILTERS:
        raise InputError(f"unknown extraction {extraction!r}; allowed: {', '.join(FILTERS)}")
    if not isinstance(reply, str):
        return judge(deal, None, extraction)
    if extraction == STRICT:
        return judge(deal, replies.extract_strict(reply), extraction)
    return judge(deal, replies.extract_flexible(reply, len(deal.cards), deal.target), extraction)


def _shown(values: Sequence[int]) -> str:
    return " ".join(map(str, sorted(values)))
