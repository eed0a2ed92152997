"""Random answers, replies, templates and rules: built by a grammar, or mutated from the cases."""

from __future__ import annotations

import random
from functools import cache

from points24.tasks.cards import RANKS, RULES, Deal
from points24.tasks.prompts import json_reply
from points24.tasks.prompts import template as shipped
from points24.tasks.solver import solutions
from tests.conftest import read_cases

_SIGNS = "+-*/"
_ODD = "0123456789+-*/()  \t\n.,=^%_eExXAJQK{}[]\"'\\:;!√×÷−·²⁄１３٣ \u2028\ud800\x00<>$`|~#"
_PIECES = (
    *(
        "<think>",
        "</think>",
        "```",
        "```json\n",
        '"formula": "',
        '{"cards": ["',
        "\\boxed{",
        "= 24",
        "$$",
        "\\frac{",
    ),
    *(
        "Answer: ",
        "is wrong",
        " or ",
        "The formula is ",
        "]",
        "}",
        "**",
        "24",
        "//",
        "**9**9",
        "1e9",
        "()",
        "--",
        "0x1",
    ),
)
_WORDS = (
    *(
        "{{ cards }}",
        "{{ J }}",
        "{{ numbers | join(', ') }}",
        "{{ target }}",
        "{% for c in cards %}",
        "{% endfor %}",
    ),
    *(
        "{% if J %}",
        "{% endif %}",
        "{{ count }}",
        "{{ x.__class__ }}",
        "{{ cards.__len__() }}",
        "{{ 1/0 }}",
        "{#",
        "#}",
    ),
    *(
        "{{ range(3) | list }}",
        "{{ rule",
        "}}",
        "{%",
        "{% set a = 1 %}",
        "{{ a }}",
        "{% include 'b' %}",
        "text ",
        "\n",
    ),
)


@cache
def _cases() -> tuple[str, ...]:
    answers = [case["answer"] for case in read_cases("answers.jsonl")]
    replies = [case["reply"] for case in read_cases("replies.jsonl")]
    return tuple(text for text in (*answers, *replies) if isinstance(text, str))


@cache
def _default() -> str:
    return shipped().source


def deal(rng: random.Random) -> Deal:
    rule = RULES[rng.choice(sorted(RULES))]
    return Deal(tuple(rng.choices(RANKS, k=4)), rule, rng.choice([24, 24, 24, 10, 1]))


def answer(rng: random.Random) -> tuple[Deal, str]:
    """Often a formula of the deal's numbers, one in six right; else a mutant."""
    asked = deal(rng)
    kind = rng.random()
    if kind < 0.2:
        return asked, mutated(rng, rng.choice(_cases()))
    # Now and then under another rule.
    values = asked.under(RULES[rng.choice(sorted(RULES))]).values if kind < 0.4 else asked.values
    known = solutions(values, asked.target) if rng.random() < 0.2 else ()
    formula = rng.choice(known) if known else _formula(rng, rng.sample(list(values), len(values)))
    return asked, formula if kind < 0.7 else mutated(rng, formula)


def reply(rng: random.Random) -> tuple[Deal, str]:
    """Often the JSON that the prompt asks for, else a case; with pieces of other replies in it, or a mutant."""
    asked, formula = answer(rng)
    text = json_reply(asked, formula) if rng.random() < 0.6 else rng.choice(_cases())
    for _ in range(rng.choice((0, 0, 1, 2, 3))):
        place = rng.randrange(len(text) + 1)
        text = text[:place] + rng.choice(_PIECES) * rng.choice((1, 1, 1, 2, 40)) + text[place:]
    return asked, mutated(rng, text) if rng.random() < 0.4 else text


def template(rng: random.Random) -> str:
    """Often the default one, with pieces of Jinja in it or after it, or a mutant."""
    text = "".join(rng.choices(_WORDS, k=rng.randrange(8)))
    whole = _default()
    place = rng.choice((0, len(whole), rng.randrange(len(whole))))
    text = whole[:place] + text + whole[place:] if rng.random() < 0.7 else text
    return mutated(rng, text) if rng.random() < 0.3 else text


def rule(rng: random.Random) -> str:
    faces = (
        f"{rng.choice('JQKA')}={rng.choice((rng.randint(-2, 30), 10**9, '1.5', '', 'x'))}" for _ in range(4)
    )
    text = rng.choice((*RULES, "numbers", ",".join(list(faces)[: rng.randint(1, 4)])))
    return mutated(rng, text) if rng.random() < 0.4 else text


def mutated(rng: random.Random, text: str) -> str:
    """The text with one to four characters or stretches added, taken away, doubled or moved."""
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(text) + 1)
        stop = min(len(text), start + rng.choice((0, 0, 1, 1, 2, 5)))
        stretch = rng.choice(
            (rng.choice(_ODD), rng.choice(_SIGNS), "", text[start:stop] * 2, rng.choice("()"))
        )
        text = text[:start] + stretch + text[stop:]
    return text


def _formula(rng: random.Random, numbers: list[int]) -> str:
    """A random formula of these numbers in this order; one in ten has another number or one left out."""
    if rng.random() < 0.1:
        numbers[rng.randrange(len(numbers))] = rng.choice((10, 11, 12, 13, 0, 7))
    parts = [str(number) for number in numbers[rng.random() < 0.03 :]]
    while len(parts) > 1:
        place = rng.randrange(len(parts) - 1)
        blank = rng.choice(("", "", "", " "))
        joined = f"{parts[place]}{blank}{rng.choice(_SIGNS)}{blank}{parts[place + 1]}"
        parts[place : place + 2] = [f"({joined})" if rng.random() < 0.6 else joined]
    return parts[0]
