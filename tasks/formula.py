r"""Formula text -> expression tree -> exact rational. Nothing that a model writes is ever executed.

Strict grammar, with white space (blank, tab, line break) allowed between tokens:

    expression = term { ("+" | "-") term }
    term       = factor { ("*" | "/") factor }
    factor     = number | "(" expression ")"
    number     = "0" | digit from 1 to 9 { digit }

The flexible grammar also accepts

    × · \times \cdot for "*"      ÷ \div for "/"      − (U+2212) for "-"
    factor     = … | "[" expression "]" | \frac "{" expression "}" "{" expression "}" | A | J | Q | K
    formula    = expression { "=" expression } [ "=" target ] | target "=" expression { "=" expression }

It skips \left and \right, and reads \dfrac and \tfrac as \frac. Of several sides the one with the most
numbers is the formula; the others have to equal the target. Neither grammar has signs before a number,
powers, functions, decimals, or products without an operator. Length, nesting and digits are bounded, so
parsing takes linear time.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

MAX_LENGTH = 500
"""Characters; a longer formula is illegal."""
MAX_DEPTH = 50
"""Nested brackets; a deeper formula is illegal."""
MAX_DIGITS = 9
"""Digits of one number; a longer number is illegal."""

_STRICT_TOKEN = re.compile(rf"[1-9][0-9]{{0,{MAX_DIGITS - 1}}}|[^ \t\r\n]")
_FLEXIBLE_TOKEN = re.compile(rf"[1-9][0-9]{{0,{MAX_DIGITS - 1}}}|\\[A-Za-z]+|[^ \t\r\n]")
_SPELLINGS = {
    "×": "*", "·": "*", "\\times": "*", "\\cdot": "*", "÷": "/", "\\div": "/", "−": "-",
    "\\dfrac": "\\frac", "\\tfrac": "\\frac",
}  # fmt: skip
_SKIPPED = {"\\left", "\\right"}
_STRICT_CLOSERS = {"(": ")"}
_FLEXIBLE_CLOSERS = {"(": ")", "[": "]"}


class FormulaError(ValueError):
    """The text is not in the grammar; the message names the first violation."""


class Operation(NamedTuple):
    """``left op right``, with one of ``+ - * /`` as op."""

    op: str
    left: Expression
    right: Expression


Expression = int | Operation
_FUNCTIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


def parse(text: str) -> Expression:
    """Read a formula of the strict grammar.

    Raises:
        FormulaError: the text is not in the grammar.
    """
    return _Parser(text, _tokens(text, _STRICT_TOKEN), _STRICT_CLOSERS, {}).formula(None)


def parse_flexible(text: str, letters: Mapping[str, int], target: int) -> Expression:
    """Read a formula of the flexible grammar.

    Args:
        text: the formula.
        letters: what the card letters A, J, Q and K count as.
        target: the only number that may follow the last "=".

    Raises:
        FormulaError: the text is not in the grammar.
    """
    tokens = _tokens(text, _FLEXIBLE_TOKEN)
    if "\\" in text or not text.isascii():
        tokens = [_SPELLINGS.get(t, t) for t in tokens if t not in _SKIPPED]
    return _Parser(text, tokens, _FLEXIBLE_CLOSERS, letters).formula(target)


def numbers(expression: Expression) -> list[int]:
    """The numbers in the expression, from left to right."""
    found: list[int] = []
    waiting = [expression]
    while waiting:
        part = waiting.pop()
        if isinstance(part, int):
            found.append(part)
        else:
            waiting += (part.right, part.left)
    return found


def evaluate(expression: Expression) -> Fraction:
    """The exact value.

    Raises:
        ZeroDivisionError: the formula divides by zero.
    """
    return Fraction(*_ratio(expression))


def compute(expression: Expression, of: Callable[[int], Any]) -> Any:
    """The value in another arithmetic: `of` gives the operand for a number, of any type with + - * /.

    Raises:
        ZeroDivisionError: where that arithmetic does.
    """
    if isinstance(expression, int):
        return of(expression)
    return _FUNCTIONS[expression.op](compute(expression.left, of), compute(expression.right, of))


def _ratio(expression: Expression) -> tuple[int, int]:
    """Numerator and denominator, not in lowest terms: three times as fast as adding up Fractions."""
    if isinstance(expression, int):
        return expression, 1
    op, left, right = expression
    (a, b), (c, d) = _ratio(left), _ratio(right)
    if op == "*":
        return a * c, b * d
    if op == "/":
        if c == 0:
            raise ZeroDivisionError
        return a * d, b * c
    return (a * d + c * b if op == "+" else a * d - c * b), b * d


def equals(expression: Expression, number: int) -> bool:
    """Whether the exact value is this number; False where it divides by zero."""
    try:
        above, below = _ratio(expression)
    except ZeroDivisionError:
        return False
    return above == number * below


def _tokens(text: str, token: re.Pattern[str]) -> list[str]:
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"longer than {MAX_LENGTH} characters")
    return token.findall(text)


class _Parser:
    """Recursive descent, one token of look-ahead."""

    def __init__(self, text: str, tokens: list[str], closers: dict[str, str], letters: Mapping[str, int]):
        tokens.append("")  # marks the end
        self.tokens = tokens
        self.closers = closers
        self.letters = letters
        self.place = 0
        self.depth = 0

    def formula(self, target: int | None) -> Expression:
        sides = [self.expression()]
        while target is not None and self.peek() == "=":
            self.next()
            sides.append(self.expression())
        if self.peek():
            raise FormulaError(f"unexpected {self.peek()!r}")
        if target is None or len(sides) == 1:
            return sides[0]
        if target not in (sides[0], sides[-1]):
            raise FormulaError(f"an equation that neither begins nor ends with {target}")
        sides.remove(target)
        formula = max(sides, key=lambda side: len(numbers(side)))
        sides.remove(formula)
        if not all(equals(side, target) for side in sides):
            raise FormulaError(f"a step that does not equal {target}")
        return formula

    def expression(self) -> Expression:
        left = self.term()
        while (op := self.tokens[self.place]) in ("+", "-"):
            self.place += 1
            left = Operation(op, left, self.term())
        return left

    def term(self) -> Expression:
        left = self.factor()
        while (op := self.tokens[self.place]) in ("*", "/"):
            self.place += 1
            left = Operation(op, left, self.factor())
        return left

    def factor(self) -> Expression:
        token = self.tokens[self.place]
        if token.isdigit() and token.isascii():
            self.place += 1
            return int(token)
        token = self.next()
        if token in self.closers:
            return self.bracketed(self.closers[token])
        if token in self.letters:
            return self.letters[token]
        if token == "\\frac" and self.closers is _FLEXIBLE_CLOSERS:
            self.expect("{")
            above = self.bracketed("}")
            self.expect("{")
            return Operation("/", above, self.bracketed("}"))
        raise FormulaError(f"unexpected {token!r}" if token else "ends too early")

    def bracketed(self, closer: str) -> Expression:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise FormulaError(f"brackets nested deeper than {MAX_DEPTH}")
        inside = self.expression()
        self.expect(closer)
        self.depth -= 1
        return inside

    def expect(self, wanted: str) -> None:
        token = self.next()
        if token != wanted:
            raise FormulaError(f"expected {wanted!r}, found {token or 'the end'!r}")

    def peek(self) -> str:
        return self.tokens[self.place]

    def next(self) -> str:
        token = self.tokens[self.place]
        if token:
            self.place += 1
        return token
