"""What Python's checker and the page's share: constants and patterns of `tasks`, for JavaScript.

The page's checker repeats the steps of `tasks`, in JavaScript; what those steps look for comes from here. A
pattern gets the meaning that Python gives it: classes of Unicode characters, and ``$`` before a last line
break.
"""

from __future__ import annotations

import html.entities
import re
from types import ModuleType
from typing import Any

from points24.tasks import cards, expressions, formula, notation, replies

_WORD, _DIGIT, _SPACE = (
    r"\p{L}\p{N}_",
    r"\p{Nd}",
    r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
)
_IN_CLASS = {r"\w": _WORD, r"\d": _DIGIT, r"\s": _SPACE}
_OUTSIDE = {key: f"[{chars}]" for key, chars in _IN_CLASS.items()} | {
    r"\S": f"[^{_SPACE}]",
    r"\b": f"(?:(?<=[{_WORD}])(?![{_WORD}])|(?<![{_WORD}])(?=[{_WORD}]))",
    "(?P<": "(?<",
}
_END = "(?![^])"
# A negated class in a class: letters, and numbers that are no decimal digits.
_LETTERS = {r"[^\W\d_]": r"[\p{L}\p{Nl}\p{No}]", r"[^\W\d_A-Za-z]": r"(?:(?![A-Za-z])[\p{L}\p{Nl}\p{No}])"}
_TOKEN = re.compile(
    r"(?P<letters>\[\^\\W\\d_(?:A-Za-z)?\])|(?P<group>\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|\(\?P=(?P<back>\w+)\)|\(\?P<|(?P<escape>\\.)|(?P<comment>#[^\n]*)|(?P<blank>\s)|.",
    re.DOTALL,
)
_NEEDLESS = re.compile(r"\\([^\w^$\\.*+?()\[\]{}|/-])")
"""Escapes of signs that mean nothing special, which JavaScript refuses."""


def tables() -> dict[str, Any]:
    """The constants of the modules of `tasks` that judge replies, by module and name, as JSON."""
    modules = (formula, notation, expressions, replies)
    return {
        **{module.__name__.rpartition(".")[2]: _constants(module) for module in modules},
        "rules": {name: rule._asdict() for name, rule in cards.RULES.items()},
        "ranks": cards.RANKS,
        "reply_keys": sorted(cards.Rule.reply_keys),
        "entities": html.entities.html5,
    }


def _constants(module: ModuleType) -> dict[str, Any]:
    return {
        name.strip("_"): shown
        for name, value in vars(module).items()
        if name.isupper() and (shown := _shown(value)) is not None
    }


def _shown(value: object) -> Any:
    """A constant as JSON; None for what has no place there, such as a table of functions."""
    if isinstance(value, re.Pattern):
        return {"pattern": pattern(value), "ignore_case": bool(value.flags & re.IGNORECASE)}
    if isinstance(value, frozenset | set):
        return sorted(value)
    if type(value) is dict and all(isinstance(found, str) for found in value.values()):
        return {chr(key) if isinstance(key, int) else key: found for key, found in value.items()}
    return value if isinstance(value, int | str) else None


def pattern(compiled: re.Pattern[str]) -> str:
    """The source of a JavaScript RegExp, for its flag ``u``, that matches as this pattern does."""

    def translated(token: re.Match[str]) -> str:
        found = token[0]
        if token["letters"]:
            return _LETTERS[found]
        if token["back"]:
            return rf"\k<{token['back']}>"
        if compiled.flags & re.VERBOSE and (token["comment"] or token["blank"]):
            return ""
        if token["group"]:
            return _NEEDLESS.sub(r"\1", re.sub(r"\\[wds]", lambda short: _IN_CLASS[short[0]], found))
        if found == "^":
            return r"(?<=\n|^)" if compiled.flags & re.MULTILINE else "^"
        if found == "$":
            return rf"(?=\n|{_END})" if compiled.flags & re.MULTILINE else rf"(?=\n?{_END})"
        if found == ".":
            return "[^]" if compiled.flags & re.DOTALL else r"[^\n]"
        return _OUTSIDE.get(found) or _NEEDLESS.sub(r"\1", found)

    return _TOKEN.sub(translated, compiled.pattern)
