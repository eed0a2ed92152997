r"""How models write: LaTeX, HTML, Markdown and Unicode -> the same text in plain signs.

`plain` changes notation, never content. What is no plain arithmetic stays, or becomes "^", which no grammar
takes; so nothing legal is left of something illegal. Every step is linear in the text's length.
"""

from __future__ import annotations

import html
import re
import unicodedata


class _Characters(dict[int, str]):
    """A table for `str.translate`; what is not in it is decided by its Unicode category."""

    def __missing__(self, code: int) -> str:
        kind = unicodedata.category(chr(code))
        if 0xFF01 <= code <= 0xFF5E and chr(code) not in "，：；？":  # those separate clauses
            found = chr(code - 0xFEE0)  # full-width signs and digits
        elif kind in ("Cf", "Mn"):  # joiners, variation selectors
            found = ""
        elif kind in ("So", "Zs"):  # ticks and other pictures; blanks
            found = " "
        else:  # superscripts and fractions are numbers that no formula may hold
            found = "^" if kind in ("No", "Nl") else chr(code)
        self[code] = found
        return found


_SIGNS = {
    **{code: chr(code) for code in range(128)},
    **{ord(sign): "*" for sign in "×⋅∗✖⨯"},
    **{ord(sign): "/" for sign in "÷∕⁄➗"},
    **{ord(sign): "-" for sign in "−–➖"},
    **{ord(sign): "→" for sign in "→⇒⟹➜➡⟶"},
    **{ord(suit): "" for suit in "♠♥♦♣♤♡♢♧"},
    **{ord(cross): " is wrong" for cross in "✗✘❌"},
    ord("➕"): "+",
    ord("°"): "^",
    ord("∴"): " ",
}
_CHARACTERS = _Characters(_SIGNS)

_PLAIN_ALREADY = re.compile(r"(?:[0-9+/() -]|\*(?!\*)|(?<!\()(?<!\( )=)*")
"""What `plain` leaves alone: no power, which may be emphasis, and no result in brackets."""

TURN_MARK = re.compile(
    r"<\|[^|<>\n]{0,60}\|>|<｜[^｜<>\n]{0,60}｜>|</?(?:s|bos|eos|pad|unk|end_of_turn|start_of_turn)>|\[/?INST\]"
)
"""What chat templates put around a turn."""
_CONTROL = re.compile(rf"{TURN_MARK.pattern}|<br ?/?>")
_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9_-]{0,30}>")
_POWER_TAG = re.compile(r"</?su[bp]>", re.IGNORECASE)

_BREAK = re.compile(r"\\\\(?:\[[^\]\n]{0,9}\])?(?=[\s&=]|$)|\\newline\b")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[a-z]{1,20}\*?\}")
_FONT = re.compile(r"\\(?:text|math)(?:rm|bf|it|sf|tt|normal)?\{([^{}\n]{0,300})\}")
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_COMMANDS = {
    **dict.fromkeys(("times", "cdot", "ast"), "*"),
    "div": "/",
    **dict.fromkeys(("dfrac", "tfrac", "cfrac"), "\\frac"),
    **dict.fromkeys(("to", "rightarrow", "Rightarrow", "implies", "longrightarrow", "Longrightarrow"), "→"),
    **dict.fromkeys(("left", "right", "big", "Big", "bigl", "bigr", "displaystyle"), ""),
    **dict.fromkeys(("checkmark", "quad", "qquad", "therefore", "because"), " "),
    "lbrack": "[",
    "rbrack": "]",
    "lparen": "(",
    "rparen": ")",
}
_SPACE = re.compile(r"\\[()\[\],;:! ]")
_ESCAPED = re.compile(r"\\([-*+_=/#.~`|<>&$%])")  # in Markdown
_BARE_BOX = re.compile(r"\\(?:boxed|fbox)\{([^{}\n+*/-]{0,80})\}")

# `**` around a word; after an operand it would be a power.
_EMPHASIS = re.compile(
    r"(?:^|(?<=[\s(:]))(?<![\d)\]] )(?<!\b[AJQK] )\*\*(?=\S)|(?<=\S)\*\*(?=[\s.,:;!?]|$)", re.MULTILINE
)
_WORDS = {"plus": "+", "minus": "-", "times": "*", "multiplied by": "*", "divided by": "/"}
_WORD = re.compile(rf"(?<=[\d)]) ({'|'.join(_WORDS)}) (?=[\d(])")
_X = re.compile(r"(?:(?<=[\d)\]}])|(?<=\b[AJQK]))[ \t]{0,3}[xX][ \t]{0,3}(?=[\d(\[]|[AJQK]\b)")
# K(13), A (=1), 13(K)
_LETTER_WITH_VALUE = re.compile(r"\b(?:[JQK](?= ?\( ?=? ?\d)|A(?= ?\( ?=? ?1\b)) ?\( ?=? ?(\d{1,3}) ?\)")
_VALUE_WITH_LETTER = re.compile(r"\b(?:(\d{1,3}) ?\( ?=? ?[JQK] ?\)|(1) ?\( ?=? ?A ?\))")
_ARROW = re.compile(r"[ \t]{0,9}(?:=>|->|→)[ \t]{0,9}")
_RESULT_AFTER_ARROW = re.compile(r"→ (?=\d{1,9}(?![ \t]*[-+*/(\d]))")
_RESULT_IN_BRACKETS = re.compile(r"\( ?= ?(\d{1,9}) ?\)")
_WHOLE_DECIMAL = re.compile(r"(= ?\d{1,9})\.0{1,9}(?!\.?\d)")


def plain(text: str, markdown: bool = True) -> str:
    r"""The text in plain signs.

    ``13 \times 2`` becomes ``13 * 2``, ``K(13)`` becomes ``13``, ``13+11 → 24`` becomes ``13+11 = 24``; any
    other arrow separates, so it becomes a line break. Without `markdown`, ``**`` is a power and stays.
    """
    if _PLAIN_ALREADY.fullmatch(text):
        return text
    if "&" in text:
        text = html.unescape(text)
    if "<" in text or "[" in text or "｜" in text:
        text = _TAG.sub(" ", _POWER_TAG.sub("^", _CONTROL.sub("\n", text)))
    if "\\" in text:
        text = _without_latex(text)
    text = text.translate(_CHARACTERS)
    text = _X.sub("*", _EMPHASIS.sub("", text) if markdown else text)
    text = _WORD.sub(lambda word: _WORDS[word[1]], text)
    text = _VALUE_WITH_LETTER.sub(r"\1\2", _LETTER_WITH_VALUE.sub(r"\1", text))
    text = _RESULT_AFTER_ARROW.sub("= ", _ARROW.sub(" → ", text)).replace("→", "\n")
    return _WHOLE_DECIMAL.sub(r"\1", _RESULT_IN_BRACKETS.sub(r"= \1", text))


def _without_latex(text: str) -> str:
    text = _BREAK.sub("\n", text).replace("&=", "=")
    if _ENVIRONMENT.search(text):
        text = _ENVIRONMENT.sub("\n", text).replace("&", " ")
    text = text.replace("\\\\", "\\")  # LaTeX inside JSON
    for _ in range(2):  # one font inside another
        text = _FONT.sub(r" \1 ", text)
    text = _COMMAND.sub(lambda found: _COMMANDS.get(found[1], found[0]), text)
    return _BARE_BOX.sub(r" \1 ", _ESCAPED.sub(r"\1", _SPACE.sub(" ", text)))
