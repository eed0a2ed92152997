r"""The arithmetic expressions in a text, as people and chat models write them.

An expression is taken whole: a sign that is no arithmetic, a word that an operator ties to it, or an attached
letter stays in and makes it illegal. Every step is linear in the text's length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from points24.tasks.formula import MAX_DEPTH
from points24.tasks.notation import plain

_FORMULA_KEY = re.compile(
    # A pattern that begins with letters is found faster; so the first quote stands in a look-behind.
    r"""formula(?:(?<="formula)"|(?<='formula)')\s{0,99}:\s{0,99}
        (?:(?P<quote>["'])(?P<text>(?:(?!(?P=quote))[^\\]|\\.){0,600})(?P=quote)
         | \[(?P<tokens>[^\[\]{}]{0,600})\])""",
    re.VERBOSE | re.DOTALL,
)
_BOX, _ANSWER = "\\boxed{", "<answer>"
_JSON_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\[ntr](?![A-Za-z])")
_LIST_SIGNS = str.maketrans("", "", "\"',")

# Also a label: "x = ".
_BULLET = re.compile(r"(?:[-+*•>]|\d{1,3}[.)]|\(\d{1,2}\)|#{1,6}|[a-z] ?=)[ \t]+")
_COMMENT = re.compile(r"(?<=[\d)])[ \t]{1,9}#.*")  # in code
# Where a line has to go on in the next: after an operator, but a dash may end a line of prose.
_OPEN_END = re.compile(r"[\d)\]AJQK][ \t]{0,9}[+*/=]$|[(\[]$")
_OPEN_DASH = re.compile(r"[\d)\]AJQK][ \t]{0,9}-$")
# A word of two letters, a letter of another script, or punctuation between clauses.
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}|[^\W\d_A-Za-z]|[,;:?，；：。？]")
_TOKEN = re.compile(
    r"""(?P<blank>[ \t]+)
      | (?P<number>(?:\.(?=\d))?[A-Za-z_0-9]*\d[A-Za-z_0-9]*(?:\.\d+)*)   # with attached letters
      | (?P<card>[AJQK](?![\w'’]))
      | (?P<word>[^\W\d_]+(?:['’][^\W\d_]+)*)
      | (?P<stop>[,;:.?…"“”„'‘’`$#，；：。、！？•\r\n])
      | (?P<sign>\\[A-Za-z]+|.)                                            # arithmetic, legal or not
    """,
    re.VERBOSE | re.DOTALL,
)
# What may follow a result.
_RESULT_BEFORE_REMARK = re.compile(r"=[ \t]{0,9}\d{1,9}(?=[ \t]{1,9}[(\[]|[ \t!.]{1,9}$)")
_DASHES = re.compile(r"^[ \t]*[-+](?=[ \t])|(?<=[ \t])[-+]$")
_OPERATOR = re.compile(r"[-+*/×÷−·^]|\\(?:times|cdot|div|[dt]?frac)")
_OPERAND = re.compile(r"\d+|(?<![A-Za-z])[AJQK](?![A-Za-z])")
# What ties a word that follows or precedes it to an expression. A dash between blanks is the prose's.
_TIED_AFTER = re.compile(r"[ \t]{0,9}[*/^√]|[-+(]")
_OPERATOR_WORDS = frozenset({"mod", "div", "xor", "squared", "cubed"})
_LETTER_TIED_AFTER = re.compile(r"[ \t]{0,9}[-+]")

_NOT_BEFORE = re.compile(
    r"(?:\bnot|\binstead of|\brather than|\bwrong:?|\bincorrect:?|~~)[\s`*$\"'(]{0,5}$", re.IGNORECASE
)
_TURN = r"(?:(?:wait|no|hmm|oops|sorry|actually|hold\ on|but|which|that|this|it)\b[\s,.!:…–-]{0,5})"
_VERB = r"(?:['’]s|is|was|would\ be|does|did|are)"
_ADVERB = r"\s{0,3}(?:(?:clearly|actually|also|just|still)\s)?"
_NOT_AFTER = re.compile(
    rf"""[\s"'`*$()}}\].,;:!…–-]{{0,9}}
        (?:~~
         | \?\s{{0,5}}(?:no|nope|wrong)\b
         | {_TURN}{{0,5}}{_VERB}?{_ADVERB}
           (?:wrong|incorrect|invalid|a\ mistake|not\ (?:right|correct|valid|equal|allowed|work)
            |(?:do|does|did|is|was)\ ?n['’o]t\ (?:work|equal|correct|right|valid))
         | (?:{_TURN}{{1,5}}{_VERB}?|{_VERB}){_ADVERB}not\ \d)  # "= 24, not 26" withdraws nothing""",
    re.IGNORECASE | re.VERBOSE,
)
_WORD = re.compile(r"[A-Za-z~]")
_WORD_AT_END = re.compile(r"[A-Za-z~:][\s`*$\"'(]{0,6}$")


class Expression(NamedTuple):
    """An expression, with the text on both sides of it."""

    text: str
    before: str
    after: str

    @property
    def operands(self) -> int:
        """How many numbers it has; of an equation, its longest side."""
        return max(len(_OPERAND.findall(side)) for side in self.text.split("="))

    @property
    def is_withdrawn(self) -> bool:
        # Most have no word beside them.
        after = _WORD.search(self.after) and _NOT_AFTER.match(self.after)
        return bool(after or (_WORD_AT_END.search(self.before) and _NOT_BEFORE.search(self.before)))

    def misses(self, target: int) -> bool:
        """Whether the reply itself equates it to another number."""
        first, *others = (side.strip() for side in self.text.split("="))
        return bool(others) and others[-1].isdigit() and str(target) not in (first, others[-1])


def has_operator(text: str) -> bool:
    return bool(_OPERATOR.search(text))


def has_prose(text: str) -> bool:
    return bool(_PROSE.search(text))


def last_marked(text: str) -> Expression | None:
    r"""What the last "formula": …, \boxed{…} or <answer>… holds, whichever begins last."""
    place, end, marked, in_json = -1, 0, "", True
    for found in _FORMULA_KEY.finditer(text):
        place, end = found.start() - 1, found.end()
        marked = _unescaped(
            found["tokens"].translate(_LIST_SIGNS) if found["text"] is None else found["text"]
        )
    box = text.rfind(_BOX)
    while box > place and (inside := _inside_braces(text, box + len(_BOX))) is not None:
        if has_operator(inside):
            place, end, marked, in_json = box, box + len(_BOX) + len(inside), inside, False
        box = text.rfind(_BOX, 0, box)
    answer = text.rfind(_ANSWER)
    if answer > place:
        inside = text[answer + len(_ANSWER) :].partition("</")[0]
        if has_operator(inside):
            place, end, marked, in_json = answer, answer + len(_ANSWER) + len(inside), inside, False
    if place < 0:
        return None
    formula = plain(marked, markdown=not in_json).strip(" \t\r\n$")
    return Expression(formula, text[max(0, place - 20) : place], text[end : end + 99])


def _inside_braces(text: str, start: int) -> str | None:
    """The text up to the brace that closes the one before `start`; None if that is 600 characters away."""
    depth = 1
    for end in range(start, min(len(text), start + 600)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[start:end]
    return None


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    # Not json.loads: models write LaTeX into JSON with single backslashes; "\frac" would become a form feed.
    text = text.replace("\\\\", "\\").replace("\\/", "/")
    return _JSON_ESCAPE.sub(lambda code: chr(int(code[1], 16)) if code[1] else " ", text)


def expressions_from_the_end(text: str) -> Iterator[Expression]:
    """The arithmetic expressions in a text, last first. A line without prose is one expression."""
    after = ""
    for line in reversed(_lines(plain(text))):
        in_prose = has_prose(line)
        for start, end in reversed(_spans(line)) if in_prose else [(0, len(line))]:
            expression = _trimmed(line[start:end], in_prose)
            yield Expression(expression, line[max(0, start - 20) : start], line[end : end + 99] + after)
        after = "\n" + line[:99]


def _lines(text: str) -> list[str]:
    """The lines, without bullets; a row of a table gives its cells, and a continued equation is one line."""
    lines = (_COMMENT.sub("", line).strip() for line in text.splitlines())
    found = [line for line in lines if line]
    joined: list[list[str]] = []
    for line in found:
        is_row = line[0] == line[-1] == "|" and line.count("|") > 2
        # A reply that is nothing but "- (…)" has a sign; in a list it is a bullet.
        sole = len(found) == 1 and line.startswith(("- (", "+ ("))
        bullet = None if sole else _BULLET.match(line)
        for part in line.strip("|").split("|") if is_row else [line[bullet.end() :] if bullet else line]:
            if joined and not is_row and (part.startswith("=") or _goes_on(joined[-1][-1])):
                joined[-1].append(part)
            else:
                joined.append([part])
    return [" ".join(parts) for parts in joined]


def _goes_on(line: str) -> bool:
    end = line[-12:]
    return bool(_OPEN_END.search(end) or (_OPEN_DASH.search(end) and not has_prose(line)))


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
        if start >= 0 and end == word.start() and line[end - 1] in ")]}":
            return True
        single = len(word[0]) == 1 and word[0].islower()
        sign = line[end - 1] if start >= 0 and not operand else ""
        if sign and (sign in "*/^√" or (sign in "+-" and (single or end == word.start()))):
            return True
        return bool(
            _TIED_AFTER.match(line, word.end()) or (single and _LETTER_TIED_AFTER.match(line, word.end()))
        )

    for token in _TOKEN.finditer(line):
        kind = "sign" if token[0] in _OPERATOR_WORDS else token.lastgroup
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
    """The expression without signs of the text around it: emphasis; in prose, dashes and brackets as well."""
    if in_prose:
        expression = _DASHES.sub("", expression)
    expression = without_remark(expression.lstrip(" \t*=_#$`")).rstrip(" \t*=_$`.")
    if in_prose:
        expression = expression.rstrip(" \t*=_$`.([{")
    for opener, closer in ("()", "[]", "{}") if in_prose else ():
        surplus = expression.count(closer) - expression.count(opener)
        for _ in range(min(abs(surplus), MAX_DEPTH)):
            if surplus > 0 and expression.endswith(closer):
                expression = expression[:-1].rstrip()
            elif surplus < 0 and expression.startswith(opener):
                expression = expression[1:].lstrip()
    return without_remark(expression)


def without_remark(expression: str) -> str:
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
