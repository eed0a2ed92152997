r"""Reply text -> formula text or nothing, by one of two extractions named after lm-eval's filters.

`extract_strict` (``strict-match``) accepts only the reply format that the prompt asks for: the whole reply is
one JSON object with "cards", "number" and a text under "formula".

`extract_flexible` (``flexible-extract``) takes the last formula that the reply commits to: the last marked
one, "formula": "…" or \boxed{…}; else the last expression with as many numbers as there are cards; else the
last one with any operator. So working that is shown after an answer does not replace it. The choice depends
on an expression's form, never on its value. The expression is taken whole: a sign that is no arithmetic stays
in and makes it illegal.

Both ignore text in <think>…</think>. Every step is linear in the reply's length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from points24.tasks.cards import CARDS_PER_DEAL

MAX_ANSWER = 20_000
"""Characters without thinking. The strict extraction refuses a longer answer; the flexible one reads its
end."""

REPLY_KEYS = frozenset({"cards", "number", "formula"})

_MARKED = re.compile(
    r"""(?P<key>["'])formula(?P=key)\s*:\s*(?P<quote>["'])(?P<text>(?:(?!(?P=quote))[^\\\n]|\\.){0,600})(?P=quote)"""
)
_BOX = "\\boxed{"
_JSON_UNICODE = re.compile(r"\\u([0-9a-fA-F]{4})")
_LATEX_SPACING = re.compile(r"\\[()\[\],;: ]")
_BULLET = re.compile(r"^[ \t]*(?:[-+*•>]|\d{1,3}[.)])[ \t]+", re.MULTILINE)
_EMPHASIS = re.compile(r"(?:(?<=\s)|^)\*\*(?=\S)|(?<=\S)\*\*(?=[\s.,:;!?]|$)", re.MULTILINE)
# A word of two letters, a letter of another script, or punctuation between clauses.
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}|[^\W\d_A-Za-z]|[,;:，；：。]")
# A piece of an expression in prose. Names and attached letters belong to it, so that `sqrt(9)*8` or `x24` is
# one illegal expression and not reduced to its legal part. The look-behinds keep the search linear: a word
# matches from its start only. Words are ASCII, because other scripts write no blank before a number.
_PIECE = r"""(?:
    [-+*/×÷−·()\[\]{}=^!%&|<>~]             # signs, legal or not
  | \\[A-Za-z]+(?:\d(?:\w|\.(?=\d))*)?      # LaTeX, perhaps with a number attached
  | (?<!\w)\w*\d(?:\w|\.(?=\d))*            # numbers, with attached letters
  | (?<!\w)[AJQK](?![\w'’])                 # card letters
  | (?<!\w)\w+(?=\()                        # function calls
)"""
_EXPRESSION = re.compile(rf"{_PIECE}(?:[ \t]*{_PIECE})*", re.VERBOSE | re.ASCII)
_JUXTAPOSED = re.compile(r"(?<=[\dAJQK])[ \t]+(?=[\dAJQK])")
_OPERAND = re.compile(r"\d+|[AJQK]")
_OPERATOR = re.compile(r"[-+*/×÷−·^]|\\(?:times|cdot|div|[dt]?frac)")


def extract_strict(reply: str) -> str | None:
    """The formula of a reply that is exactly the JSON object that the prompt asks for, else None."""
    text = without_thinking(reply).strip()
    if not (text.startswith("{") and text.endswith("}")) or len(text) > MAX_ANSWER:
        return None
    try:
        reply_object = _JSON.decode(text)
    except (ValueError, RecursionError):
        return None
    formula = reply_object.get("formula") if reply_object.keys() >= REPLY_KEYS else None
    return formula if isinstance(formula, str) and formula.strip() else None


def extract_flexible(reply: str, operands: int = CARDS_PER_DEAL) -> str | None:
    """The last formula that the reply commits to, else None.

    Args:
        reply: the model's text.
        operands: how many numbers a complete formula has.
    """
    text = without_thinking(reply)[-MAX_ANSWER:]
    marked = _last_marked(text)
    if marked is not None:
        return marked.strip(" \t\r\n$") or None
    partial = None
    for expression in _expressions_from_the_end(text):
        if _OPERATOR.search(expression):
            if max(len(_OPERAND.findall(side)) for side in expression.split("=")) >= operands:
                return expression
            partial = partial or expression
    return partial


def is_truncated(reply: str) -> bool:
    """Whether the reply ends inside thinking, a code fence or a brace.

    This stands in for the reason why generation stopped, which lm-eval does not report.
    """
    answer = without_thinking(reply)
    ends_thinking = reply.rfind("<think>") > reply.rfind("</think>")
    return ends_thinking or answer.count("```") % 2 == 1 or answer.count("{") > answer.count("}")


def without_thinking(reply: str) -> str:
    """The reply without ``<think>…</think>``.

    Chat templates may put the opening tag into the prompt: without one, everything before the closing tag is
    thinking. A reply may be cut off: without a closing tag, everything after the opening tag is.
    """
    kept: list[str] = []
    *closed, rest = reply.split("</think>")
    for segment in closed:
        before, opened, _ = segment.partition("<think>")
        if opened:
            kept.append(before)
        else:
            kept.clear()
    kept.append(rest.partition("<think>")[0])
    return "".join(kept)


def _unread(number: str) -> None:
    return None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError("a key is given twice")
    return mapping


# Numbers are not converted: their values are not needed, and huge ones are slow or raise.
_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_unread, parse_float=_unread)


def _last_marked(text: str) -> str | None:
    r"""What the last "formula": "…" or \boxed{…} holds, whichever comes later."""
    place, marked = -1, None
    for found in _MARKED.finditer(text):
        place, marked = found.start(), _unescaped(found["text"])
    box = text.rfind(_BOX)
    if box > place:
        start = box + len(_BOX)
        depth = 1
        for end in range(start, min(len(text), start + 600)):
            depth += (text[end] == "{") - (text[end] == "}")
            if depth == 0:
                return text[start:end]
    return marked


def _unescaped(text: str) -> str:
    # Not json.loads: models write LaTeX into JSON with single backslashes; "\frac" would become a form feed.
    text = text.replace("\\\\", "\\").replace("\\/", "/")
    return _JSON_UNICODE.sub(lambda code: chr(int(code[1], 16)), text)


def _expressions_from_the_end(text: str) -> Iterator[str]:
    """The arithmetic expressions in a text, last first. A line without prose is one expression."""
    text = _EMPHASIS.sub("", _BULLET.sub("", _LATEX_SPACING.sub(" ", text)))
    for line in reversed(text.splitlines()):
        bare = line.strip(" \t$`.")
        if not _PROSE.search(bare):
            yield bare
            continue
        for run in reversed(_EXPRESSION.findall(line)):
            yield from map(_trimmed, reversed(_JUXTAPOSED.split(run)))


def _trimmed(expression: str) -> str:
    """The expression without surrounding signs of the prose: emphasis, dashes, a closing bracket."""
    expression = re.sub(r"^(?:[-+−](?=[ \t])|[*/=<>!|~ \t])+", "", expression)
    expression = re.sub(r"[-+*/×÷−·=<>!|~ \t]+$", "", expression)
    for opener, closer in ("()", "[]", "{}"):
        surplus = expression.count(closer) - expression.count(opener)
        while surplus > 0 and expression.endswith(closer):
            expression, surplus = expression[:-1].rstrip(), surplus - 1
        while surplus < 0 and expression.startswith(opener):
            expression, surplus = expression[1:].lstrip(), surplus + 1
    return expression
