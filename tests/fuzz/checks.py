"""What must hold for every input; anything but `AssertionError` that comes out is a fault as well."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from points24.tasks.cards import RULES, Deal, parse_any_rule
from points24.tasks.errors import InputError
from points24.tasks.prompts import Template
from points24.tasks.verdict import EXTRACTIONS, STRICT, Verdict, judge, judge_reply
from tests.fuzz import inputs
from tests.tasks.oracle import IllegalError, is_correct, numbers_and_value

SECONDS = 1.0
"""More than any reply of a few thousand characters may take."""


class Kind(NamedTuple):
    draw: Callable[[random.Random], Any]
    check: Callable[[Any], str]
    """Returns a word to count by."""


def check_answer(case: tuple[Deal, str]) -> str:
    """The verdict is what an independent judge finds; see `tests.tasks.oracle`."""
    deal, text = case
    found = judge(deal, text).verdict
    assert found is expected(deal, text), f"{found.value}; the oracle says {expected(deal, text).value}"
    return found.value


def expected(deal: Deal, text: str) -> Verdict:
    try:
        numbers, value = numbers_and_value(text)
    except IllegalError:
        return Verdict.ILLEGAL
    used = sorted(numbers)
    if used == sorted(deal.values) and value == deal.target:
        return Verdict.CORRECT
    others = (deal.under(rule) for rule in RULES.values())
    if any(other.values != deal.values and is_correct(text, other.values, deal.target) for other in others):
        return Verdict.WRONG_RULE
    return Verdict.WRONG_VALUE if used == sorted(deal.values) else Verdict.WRONG_NUMBERS


def check_reply(case: tuple[Deal, str]) -> str:
    """No reply raises or takes long, and what strict extraction wins is JSON with a right formula."""
    deal, text = case
    began = time.perf_counter()
    verdicts = {name: judge_reply(deal, text, name).verdict for name in EXTRACTIONS}
    assert time.perf_counter() - began < SECONDS * len(EXTRACTIONS), "takes too long"
    if verdicts[STRICT] is Verdict.CORRECT:
        formula = json.loads(text.rpartition("</think>")[2])["formula"]
        assert is_correct(formula, deal.values, deal.target), f"strict takes {formula}"
    return verdicts[STRICT].value


def check_template(text: str) -> str:
    """A template renders, or is refused in one line."""
    try:
        Template(text).render(Deal(("K", "5", "A", "2"), RULES["ood"]))
    except InputError as e:
        return _refused(e)
    return "rendered"


def check_rule(text: str) -> str:
    """A rule is read, and then its name is a rule that is the same; or it is refused in one line."""
    try:
        rule = parse_any_rule(text)
    except InputError as e:
        return _refused(e)
    assert parse_any_rule(rule.name) == rule
    return "read"


def _refused(error: InputError) -> str:
    assert "\n" not in str(error), "more than one line"
    return "refused"


KINDS = {
    "answers": Kind(inputs.answer, check_answer),
    "replies": Kind(inputs.reply, check_reply),
    "templates": Kind(inputs.template, check_template),
    "rules": Kind(inputs.rule, check_rule),
}


def drawn(kind: str, seed: int, number: int) -> Any:
    """The input of that number, which depends on nothing else."""
    return KINDS[kind].draw(random.Random(f"{kind}/{seed}/{number}"))
