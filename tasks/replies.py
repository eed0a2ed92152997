r"""Reply text -> formula text or nothing, by one of two extractions named after lm-eval's filters.

`extract_strict` (``strict-match``) accepts only the reply format that the prompt asks for: the whole reply is
one JSON object with "cards", "number" and a text under "formula".

`extract_flexible` (``flexible-extract``) takes the last formula that the reply commits to. It reads what
is marked last, by "formula": …, \boxed{…} or <answer>…</answer>; else the whole reply. Of the expressions there
it takes the last with as many numbers as there are cards, or else the last with any operator. An expression
that the reply withdraws ("… is wrong") is no answer; one that it equates to another number than the target
counts only if there is no other. So working that is shown after an answer does not replace it. The choice
depends on what is written, never on an expression's value. An expression is taken whole: a sign that is no
arithmetic stays in and makes it illegal.

Both ignore thinking. Every step is linear in the reply's length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from points24.tasks.cards import CARDS_PER_DEAL, TARGET
from points24.tasks.formula import MAX_DEPTH
from points24.tasks.notation import plain

MAX_ANSWER = 20_000
"""Characters without thinking. The strict extraction refuses a longer answer; the flexible one reads its
end."""

REPLY_KEYS = frozenset({"cards", "number", "formula"})

_OPENS, _CLOSES = "<think>", "</think>"
_THINKING = re.compile(
    r"""(?P<opens><(?:think|thinking|thoughts?|reasoning|scratchpad|seed:think)>|\[THINK\]|◁think▷
            |<\|begin_of_thought\|>|<\|channel\|>analysis<\|message\|>)
      | </(?:think|thinking|thoughts?|reasoning|scratchpad|seed:think)>|\[/THINK\]|◁/think▷
            |<\|end_of_thought\|>|<\|channel\|>final<\|message\|>""",
    re.VERBOSE,
)

_FORMULA_KEY = re.compile(
    r"""(?P<key>["'])formula(?P=key)\s{0,99}:\s{0,99}
        (?:(?P<quote>["'])(?P<text>(?:(?!(?P=quote))[^\\]|\\.){0,600})(?P=quote)
         | \[(?P<tokens>[^\[\]{}]{0,600})\])""",
    re.VERBOSE | re.DOTALL,
)
_BOX, _ANSWER = "\\boxed{", "<answer>"
_JSON_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\[ntr](?![A-Za-z])")
_LIST_SIGNS = str.maketrans("", "", "\"',")

_BULLET = re.compile(r"[ \t]*(?:[-+*•>]|\d{1,3}[.)]|#{1,6})[ \t]+")
_EMPHASIS = re.compile(r"(?:(?<=[\s(:])|^)\*\*(?=\S)|(?<=\S)\*\*(?=[\s.,:;!?)=]|$)", re.MULTILINE)
_OPEN_END = re.compile(r"[\d)\]AJQK][ \t]{0,9}[-+*/=]$|[(\[]$")
# A word of two letters, a letter of another script, or punctuation between clauses.
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}|[^\W\d_A-Za-z]|[,;:?，；：。？]")
_TOKEN = re.compile(
    r"""(?P<blank>[ \t]+)
      | (?P<number>(?:\.(?=\d))?[A-Za-z_0-9]*\d[A-Za-z_0-9]*(?:\.\d+)*)   # with attached letters
      | (?P<card>[AJQK](?![\w'’]))
      | (?P<word>[^\W\d_]+(?:['’][^\W\d_]+)*)
      | (?P<stop>[,;:.?…"“”„'‘’`$#|，；：。、！？•\r\n])
      | (?P<sign>\\[A-Za-z]+|.)                                            # arithmetic, legal or not
    """,
    re.VERBOSE | re.DOTALL,
)
# A remark may follow the result; a word or a line ends.
_RESULT_BEFORE_REMARK = re.compile(r"=[ \t]{0,9}\d{1,9}(?=[ \t]{1,9}[(\[]|[ \t!.]{1,9}$)")
_BORDER = re.compile(r"\n|[^\W\d_]{2,}\s")
_OPERATOR = re.compile(r"[-+*/×÷−·^]|\\(?:times|cdot|div|[dt]?frac)")
_OPERAND = re.compile(r"\d+|(?<![A-Za-z])[AJQK](?![A-Za-z])")
# What ties a word that follows or precedes it to an expression. A dash between blanks is the prose's.
_TIED_AFTER = re.compile(r"[ \t]{0,9}[*/^√]|[-+(]")
_LETTER_TIED_AFTER = re.compile(r"[ \t]{0,9}[-+]")

_NOT_BEFORE = re.compile(
    r"(?:\bnot|\binstead of|\brather than|\bwrong:?|\bincorrect:?|~~)[\s`*$\"'(]{0,5}$", re.IGNORECASE
)
_NOT_AFTER = re.compile(
    r"""[\s"'`*$()}\].,;:!…–-]{0,9}
        (?:~~
         | \?\s{0,5}(?:no|nope|wrong)\b
         | (?:(?:wait|no|hmm|oops|sorry|actually|but|which|that|this|it)\b[\s,.!:…–-]{0,5}){0,4}
           (?:['’]s|is|was|would\ be|does|did|are)?\s{0,3}(?:(?:clearly|actually|also|just|still)\s)?
           (?:wrong|incorrect|invalid|a\ mistake|not\ (?:right|correct|valid|equal|allowed|work|\d+)
            |(?:do|does|did|is|was)\ ?n['’o]t\ (?:work|equal|correct|right|valid)))""",
    re.IGNORECASE | re.VERBOSE,
)


class _Expression(NamedTuple):
    """An expression, with the text on both sides of it."""

    text: str
    before: str
    after: str

    @property
    def operands(self) -> int:
        return max(len(_OPERAND.findall(side)) for side in self.text.split("="))

    @property
    def is_withdrawn(self) -> bool:
        return bool(_NOT_BEFORE.search(self.before) or _NOT_AFTER.match(self.after))

    def misses(self, target: int) -> bool:
        """Whether the reply itself equates it to another number."""
        first, *others = (side.strip() for side in self.text.split("="))
        return bool(others) and others[-1].isdigit() and str(target) not in (first, others[-1])


def extract_strict(reply: str) -> str | None:
    """The formula of a reply that is exactly the JSON object that the prompt asks for, else None."""
    answer, is_open = _without_thinking(reply)
    text = answer.strip()
    if is_open or not (text.startswith("{") and text.endswith("}")) or len(text) > MAX_ANSWER:
        return None
    try:
        # Numbers are not converted: their values are not needed, and huge ones are slow or raise.
        reply_object = json.loads(
            text, object_pairs_hook=_unique, parse_int=_unread, parse_float=_unread, parse_constant=_refused
        )
    except (ValueError, RecursionError):
        return None
    formula = reply_object.get("formula") if reply_object.keys() >= REPLY_KEYS else None
    return formula if isinstance(formula, str) and formula.strip() else None


def extract_flexible(reply: str, operands: int = CARDS_PER_DEAL, target: int = TARGET) -> str | None:
    """The last formula that the reply commits to, in plain signs (see `notation`), else None.

    Args:
        reply: the model's text.
        operands: how many numbers a complete formula has.
        target: what a formula has to equal.
    """
    text = _end_of(without_thinking(reply))
    marked = _last_marked(text)
    if marked is not None:
        text = plain(marked.text).strip(" \t\r\n$")
        if marked.is_withdrawn or not _PROSE.search(text):
            return None if marked.is_withdrawn else _without_remark(text) or None
    missing = partial = None
    for expression in _expressions_from_the_end(text):
        if not _OPERATOR.search(expression.text) or expression.is_withdrawn:
            continue
        if expression.operands >= operands:
            if not expression.misses(target):
                return expression.text
            missing = missing or expression.text
        elif expression.operands > 1:
            partial = partial or expression.text
    return missing or partial


def is_truncated(reply: str) -> bool:
    """Whether the reply ends inside thinking, a code fence or a brace.

    This stands in for the reason why generation stopped, which lm-eval does not report.
    """
    answer, is_open = _without_thinking(reply)
    return is_open or answer.count("```") % 2 == 1 or answer.count("{") > answer.count("}")


def without_thinking(reply: str) -> str:
    """The reply without ``<think>…</think>`` and its like.

    Chat templates may put the opening tag into the prompt: without one, everything before the closing tag is
    thinking. A reply may be cut off: without a closing tag, everything after the opening tag is.
    """
    return _without_thinking(reply)[0]


def _without_thinking(reply: str) -> tuple[str, bool]:
    """The rest, and whether the reply ends in thinking."""
    reply = _THINKING.sub(lambda tag: _OPENS if tag["opens"] else _CLOSES, reply)
    kept: list[str] = []
    *closed, rest = reply.split(_CLOSES)
    for segment in closed:
        before, opened, _ = segment.partition(_OPENS)
        if opened:
            kept.append(before)
        else:
            kept.clear()
    answer, is_open, _ = rest.partition(_OPENS)
    kept.append(answer)
    return "".join(kept), bool(is_open)


def _unread(number: str) -> None:
    return None


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError("a key is given twice")
    return mapping


def _end_of(text: str) -> str:
    """The last `MAX_ANSWER` characters, from the first end of a line or word on: no expression is cut."""
    if len(text) <= MAX_ANSWER:
        return text
    text = text[-MAX_ANSWER:]
    border = _BORDER.search(text)
    return text[border.end() :] if border else ""


def _last_marked(text: str) -> _Expression | None:
    r"""What the last "formula": …, \boxed{…} or <answer>… holds, whichever begins last."""
    place, end, marked = -1, 0, ""
    for found in _FORMULA_KEY.finditer(text):
        place, end = found.start(), found.end()
        marked = _unescaped(
            found["tokens"].translate(_LIST_SIGNS) if found["text"] is None else found["text"]
        )
    box = text.rfind(_BOX)
    while box > place and (inside := _inside_braces(text, box + len(_BOX))) is not None:
        if _OPERATOR.search(inside):
            place, end, marked = box, box + len(_BOX) + len(inside), inside
        box = text.rfind(_BOX, 0, box)
    answer = text.rfind(_ANSWER)
    if answer > place:
        inside = text[answer + len(_ANSWER) :].partition("</")[0]
        if _OPERATOR.search(inside):
            place, end, marked = answer, answer + len(_ANSWER) + len(inside), inside
    if place < 0:
        return None
    return _Expression(marked, text[max(0, place - 20) : place], text[end : end + 99])


def _inside_braces(text: str, start: int) -> str | None:
    """The text up to the brace that closes the one before `start`; None if that is 600 characters away."""
    depth = 1
    for end in range(start, min(len(text), start + 600)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[start:end]
    return None


def _unescaped(text: str) -> str:
    # Not json.loads: models write LaTeX into JSON with single backslashes; "\frac" would become a form feed.
    text = text.replace("\\\\", "\\").replace("\\/", "/")
    return _JSON_ESCAPE.sub(lambda code: chr(int(code[1], 16)) if code[1] else " ", text)


def _expressions_from_the_end(text: str) -> Iterator[_Expression]:
    """The arithmetic expressions in a text, last first. A line without prose is one expression."""
    after = ""
    for line in reversed(_lines(_EMPHASIS.sub("", plain(text)))):
        has_prose = bool(_PROSE.search(line))
        for start, end in reversed(_spans(line)) if has_prose else [(0, len(line))]:
            expression = _trimmed(line[start:end], has_prose)
            yield _Expression(expression, line[max(0, start - 20) : start], line[end : end + 99] + after)
        after = "\n" + line[:99]


def _lines(text: str) -> list[str]:
    """The lines, without bullets; a row of a table gives its cells, and a continued equation is one line."""
    found = [line.strip() for line in text.splitlines() if line.strip()]
    joined: list[list[str]] = []
    for line in found:
        is_row = line[0] == line[-1] == "|" and line.count("|") > 2
        # A reply that is nothing but "- (…)" has a sign; in a list it is a bullet.
        sole = len(found) == 1 and line.startswith(("- (", "+ ("))
        bullet = None if sole else _BULLET.match(line)
        for part in line.strip("|").split("|") if is_row else [line[bullet.end() :] if bullet else line]:
            before = joined[-1][-1] if joined and not is_row else ""
            if before and (
                part.startswith("=") or (_OPEN_END.search(before[-12:]) and not _PROSE.search(before))
            ):
                joined[-1].append(part)
            else:
                joined.append([part])
    return [" ".join(parts) for parts in joined]


def _spans(line: str) -> list[tuple[int, int]]:
    """Where the expressions of a line of prose lie.

    Between them are words and punctuation. A word belongs to an expression if an operator or a bracket ties
    it to one: `sqrt(9)*8` or `n*13` is one illegal expression, and not reduced to its legal part.
    """
    spans: list[tuple[int, int]] = []
    start, end, operand = -1, 0, False

    def ties(word: re.Match[str]) -> bool:
        if not word[0].isascii():
            return False
        single = len(word[0]) == 1 and word[0].islower()
        sign = line[end - 1] if start >= 0 and not operand else ""
        if sign and (sign in "*/^√" or (sign in "+-" and (single or end == word.start()))):
            return True
        return bool(
            _TIED_AFTER.match(line, word.end()) or (single and _LETTER_TIED_AFTER.match(line, word.end()))
        )

    for token in _TOKEN.finditer(line):
        kind = token.lastgroup
        if kind == "blank":
            continue
        breaks = kind == "stop" or (kind == "word" and not ties(token))
        is_operand = kind in ("number", "card", "word")
        if start >= 0 and (breaks or (operand and is_operand and end < token.start())):
            spans.append((start, end))
            start = -1
        if breaks:
            continue
        if start < 0:
            start = token.start()
        end, operand = token.end(), is_operand
    return [*spans, (start, end)] if start >= 0 else spans


def _trimmed(expression: str, in_prose: bool) -> str:
    """The expression without signs of the text around it: emphasis, dashes, brackets."""
    start = 0
    while start < len(expression) and (
        expression[start] in " \t*/=<>!_#$`"
        or (in_prose and expression[start] in "-+" and expression[start + 1 : start + 2] in (" ", "\t"))
    ):
        start += 1
    expression = _without_remark(expression[start:]).rstrip(" \t-+*/×÷−·=<>!_([{$`.")
    for opener, closer in ("()", "[]", "{}"):
        surplus = expression.count(closer) - expression.count(opener)
        for _ in range(min(abs(surplus), MAX_DEPTH)):
            if surplus > 0 and expression.endswith(closer):
                expression = expression[:-1].rstrip()
            elif surplus < 0 and expression.startswith(opener):
                expression = expression[1:].lstrip()
    return _without_remark(expression)


def _without_remark(expression: str) -> str:
    """An equation without what follows its result, ``= 24!`` or ``= 24 (4 cards)``, and without brackets."""
    if remark := _RESULT_BEFORE_REMARK.search(expression):
        expression = expression[: remark.end()]
    return expression[1:-1].strip() if _is_equation_in_brackets(expression) else expression


def _is_equation_in_brackets(expression: str) -> bool:
    """Whether it is ``(… = …)``."""
    if "=" not in expression or not expression.startswith("("):
        return False
    depth = 0
    for place, sign in enumerate(expression):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return place == len(expression) - 1
    return False
