"""An independent judge for the tests: CPython's parser, a whitelist of syntax nodes, and Fractions."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from fractions import Fraction

_OPERATORS = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}


class IllegalError(Exception):
    pass


def numbers_and_value(formula: str) -> tuple[list[int], Fraction | None]:
    """The numbers in a formula and its exact value, None if it divides by zero.

    Raises:
        IllegalError: not in the strict grammar.
    """
    # No leading zeros, and at most nine digits, the documented bound.
    if not re.fullmatch(r"[0-9+\-*/() \t\r\n]+", formula) or re.search(r"(?<!\d)0\d|\d{10}", formula):
        raise IllegalError
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(re.sub(r"\s", " ", formula).strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise IllegalError from None
    numbers: list[int] = []
    try:
        return numbers, _value(tree, numbers)
    except ZeroDivisionError:
        return sorted(_constants(tree)), None


def is_correct(formula: str, values: Sequence[int], target: int) -> bool:
    try:
        numbers, value = numbers_and_value(formula)
    except IllegalError:
        return False
    return sorted(numbers) == sorted(values) and value == target


def _value(node: ast.expr, numbers: list[int]) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        numbers.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left, numbers), _value(node.right, numbers)
        return _OPERATORS[type(node.op)](left, right)
    raise IllegalError


def _constants(node: ast.AST) -> list[int]:
    for child in ast.walk(node):
        if isinstance(child, ast.expr) and not isinstance(child, (ast.Constant, ast.BinOp)):
            raise IllegalError
        if isinstance(child, ast.operator) and type(child) not in _OPERATORS:
            raise IllegalError
    return [int(str(child.value)) for child in ast.walk(node) if isinstance(child, ast.Constant)]
