"""Deal and formula -> verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from points24.tasks import formula as grammar
from points24.tasks.cards import FACES, RULES, Deal
from points24.tasks.errors import InputError
from points24.tasks.paper_match import extract_paper, parse_paper
from points24.tasks.replies import extract_flexible, extract_strict

STRICT, FLEXIBLE, PAPER = "strict-match", "flexible-extract", "paper-match"
FILTERS = (STRICT, FLEXIBLE)
"""The filters of the protocol `points24`."""


class Extraction(NamedTuple):
    """How a formula is found in a reply, and read."""

    extract: Callable[[str, Deal], str | None]
    """Reply -> formula text; None where there is none."""
    parse: Callable[[str, Deal], grammar.Expression]
    """Raises `FormulaError`."""


def _extract_flexible(reply: str, deal: Deal) -> str | None:
    return extract_flexible(reply, len(deal.cards), deal.target)


def _parse_flexible(formula: str, deal: Deal) -> grammar.Expression:
    letters = {face: deal.rule.value(face) for face in ("A", *FACES)}
    return grammar.parse_flexible(formula, letters, deal.target)


EXTRACTIONS: dict[str, Extraction] = {
    STRICT: Extraction(lambda reply, _: extract_strict(reply), lambda formula, _: grammar.parse(formula)),
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
        tree = EXTRACTIONS[extraction].parse(formula, deal)
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
    in_floats = equals_in_floats(tree, deal.target)
    if value == deal.target:
        return Judgement(Verdict.CORRECT, formula, f"equals {value}", in_floats)
    return Judgement(Verdict.WRONG_VALUE, formula, f"equals {value}, not {deal.target}", in_floats)


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
    return " ".join(map(str, sorted(values)))
