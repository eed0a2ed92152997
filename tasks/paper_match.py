r"""What the paper's verifier reads: reply -> formula text (``paper-match``) -> syntax errors or expression.

A formula is the text under "formula" if the whole reply is JSON, else what the first ``"formula": "…"``
holds: double quotes, one blank after the colon, no line break. It ends before the first "=".

Any character but a digit, a sign of arithmetic or a parenthesis makes it illegal, a blank included. Each
token that may not follow the one before it is an error of its own. What is left must be an expression of
Python, which the reference evaluates: no leading zeros, no digits of other scripts, at most 200 open
parentheses.

Source: `re_match` and `step_rewards` of the repository of arXiv:2508.16546. Two replies crash it: a formula
in the JSON that is no text, which is no formula here, and a number that `int` refuses for its length, which
is illegal here.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator

from points24.tasks.formula import Expression, FormulaError, Operation

OPEN = 200
"""Parentheses that may be open at once; Python refuses more."""
MAX_OPERATORS = 200
"""Signs in a formula that is evaluated. Four cards leave room for three."""

_FORMULA = re.compile(r'"formula": "(.*?)"')
_TOKEN = re.compile(r"\d+|[-+*/()]")
_LEADING_ZERO = re.compile(r"0+[1-9]")
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2}


def extract_paper(reply: str) -> str | None:
    """The formula of a reply, perhaps empty; None where there is none."""
    try:
        formula = json.loads(reply)["formula"]
    except (ValueError, LookupError, TypeError, RecursionError):
        found = _FORMULA.search(reply)
        formula = found and found[1]
    return formula.split("=")[0] if isinstance(formula, str) else None


def tokens(formula: str) -> list[str] | None:
    """The numbers, signs and parentheses of a formula; None where it holds anything else."""
    found = _TOKEN.findall(formula)
    limit = sys.get_int_max_str_digits() or len(formula)
    if "".join(found) != formula or any(len(token) > limit for token in found):
        return None
    return found


def syntax_errors(found: list[str]) -> Iterator[str]:
    """The kind of each syntax error, from left to right.

    Parentheses that stay open and a sign at the end are none: the formula may be the beginning of one.
    """
    before, open_ = "", 0
    for token in found:
        after_operand = before[-1:].isdecimal() or before == ")"
        if token == "(":
            if after_operand:
                yield "before_open"
            else:
                open_ += 1
        elif token == ")":
            if not after_operand:
                yield "after_close"
            elif open_ == 0:
                yield "unmatched_close"
            else:
                open_ -= 1
        elif token in _PRECEDENCE:
            if not after_operand:
                yield "after_operator"
        elif after_operand:
            yield "after_number"
        before = token


def parse_paper(formula: str) -> Expression:
    """Read a formula as the reference does.

    Raises:
        FormulaError: it refuses the formula.
    """
    found = tokens(formula)
    if found is None:
        raise FormulaError("something other than numbers, + - * / and parentheses")
    if error := next(syntax_errors(found), None):
        raise FormulaError(f"{error.replace('_', ' ')}: a sign, number or parenthesis is missing or too many")
    return expression(found)


def expression(found: list[str]) -> Expression:
    """The expression that tokens without syntax errors make (by Dijkstra's shunting yard: no recursion).

    Raises:
        FormulaError: Python would refuse it.
    """
    if not found or found[-1] in _PRECEDENCE or found[-1] == "(":
        raise FormulaError("ends too early")
    if any(_LEADING_ZERO.match(token) or not token.isascii() for token in found):
        raise FormulaError("a number with a leading zero, or in digits of another script")
    if sum(map(found.count, _PRECEDENCE)) > MAX_OPERATORS:
        raise FormulaError(f"more than {MAX_OPERATORS} signs")
    values: list[Expression] = []
    waiting: list[str] = []

    def apply_down_to(precedence: int) -> None:
        while waiting and waiting[-1] != "(" and _PRECEDENCE[waiting[-1]] >= precedence:
            right, left = values.pop(), values.pop()
            values.append(Operation(waiting.pop(), left, right))

    for token in found:
        if token == "(":
            waiting.append(token)
            if waiting.count("(") > OPEN:
                raise FormulaError(f"more than {OPEN} open parentheses")
        elif token == ")":
            apply_down_to(0)
            waiting.pop()
        elif token in _PRECEDENCE:
            apply_down_to(_PRECEDENCE[token])
            waiting.append(token)
        else:
            values.append(int(token))
    apply_down_to(0)
    if waiting:
        raise FormulaError("a parenthesis stays open")
    return values[0]
