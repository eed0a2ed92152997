r"""Reply text -> formula text or nothing, by one of two extractions named after lm-eval's filters.

`extract_strict` (``strict-match``) accepts only the reply format that the prompt asks for: the whole reply is
one JSON object with "cards", "number" (or "numbers" alone) and a text under "formula".

`extract_flexible` (``flexible-extract``) takes the last formula that the reply commits to. It reads what is
marked last, by "formula": …, \boxed{…} or <answer>…</answer>; else the whole reply. Of the expressions in it,
the last with as many numbers as there are cards counts, or else the last with two numbers or more. What the
reply withdraws ("… is wrong") is no answer; what it equates to another number than the target counts only if
there is nothing else. So working that is shown after an answer does not replace it. The choice depends on
what is written, never on an expression's value.

Both ignore thinking. Every step is linear in the reply's length.
"""

from __future__ import annotations

import json
import re

from points24.tasks.cards import CARDS_PER_DEAL, TARGET, Rule
from points24.tasks.expressions import (
    expressions_from_the_end,
    has_operator,
    has_prose,
    last_marked,
    without_remark,
)

MAX_ANSWER = 20_000
"""Characters without thinking. The strict extraction refuses a longer answer; the flexible one reads its
end."""

_OPENS, _CLOSES = "<think>", "</think>"
_THINKING = re.compile(
    r"""(?P<opens><(?:think|thinking|thoughts?|reasoning|scratchpad|seed:think)>|\[THINK\]|◁think▷
            |<\|begin_of_thought\|>|<\|channel\|>analysis<\|message\|>)
      | </(?:think|thinking|thoughts?|reasoning|scratchpad|seed:think)>|\[/THINK\]|◁/think▷
            |<\|end_of_thought\|>|<\|channel\|>final<\|message\|>""",
    re.VERBOSE,
)
# Where a line or a word ends.
_BORDER = re.compile(r"\n|[^\W\d_]{2,}\s")


def extract_strict(reply: str, keys: frozenset[str] = Rule.reply_keys) -> str | None:
    """The formula of a reply that is exactly the JSON object that the prompt asks for, else None.

    Args:
        reply: the model's text.
        keys: what the object must have.
    """
    answer, is_open = _without_thinking(reply)
    text = answer.strip()
    if is_open or not (text.startswith("{") and text.endswith("}")) or len(text) > MAX_ANSWER:
        return None
    try:
        reply_object = _JSON.decode(text)
    except (ValueError, RecursionError):
        return None
    formula = reply_object.get("formula") if reply_object.keys() >= keys else None
    return formula if isinstance(formula, str) and formula.strip() else None


def extract_flexible(reply: str, operands: int = CARDS_PER_DEAL, target: int = TARGET) -> str | None:
    """The last formula that the reply commits to, in plain signs (see `notation`), else None.

    Args:
        reply: the model's text.
        operands: how many numbers a complete formula has.
        target: what a formula has to equal.
    """
    answer = _end_of(without_thinking(reply))
    marked = last_marked(answer)
    if marked is None:
        return _choice(answer, operands, target)
    if marked.is_withdrawn:
        return None
    if has_prose(marked.text):
        return _choice(marked.text, operands, target) or (marked.text if has_operator(marked.text) else None)
    return without_remark(marked.text) or None


def _choice(text: str, operands: int, target: int) -> str | None:
    missing = partial = None
    for expression in expressions_from_the_end(text):
        if not has_operator(expression.text) or expression.is_withdrawn:
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

    Chat templates may put the opening tag into the prompt (`opened_thinking`): without one, everything before
    the closing tag is thinking. A reply may be cut off: without a closing tag, everything after the opening
    tag is.
    """
    return _without_thinking(reply)[0]


def opened_thinking(prompt: str) -> str:
    """The tag in which a prompt ends, as some chat templates' do, if it opens thinking; else nothing."""
    *_, last = ("", *_THINKING.finditer(prompt[-60:]))
    return last[0] if last and last["opens"] and prompt.rstrip().endswith(last[0]) else ""


def _without_thinking(reply: str) -> tuple[str, bool]:
    """The rest, and whether the reply ends in thinking."""
    if "<" not in reply and "THINK]" not in reply and "◁" not in reply:  # most replies
        return reply, False
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


# Numbers are not converted: their values are not needed, and huge ones are slow or raise.
_JSON = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_unread, parse_float=_unread, parse_constant=_refused
)


def _end_of(text: str) -> str:
    """The last `MAX_ANSWER` characters, from the first end of a line or word on: no expression is cut."""
    if len(text) <= MAX_ANSWER:
        return text
    text = text[-MAX_ANSWER:]
    border = _BORDER.search(text)
    return text[border.end() :] if border else ""
