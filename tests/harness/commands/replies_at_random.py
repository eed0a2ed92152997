"""Deals with formulas and replies at random: right, nearly right and hostile."""

import random
from collections.abc import Sequence
from functools import cache

from points24.tasks.cards import RANKS, RULES, Deal, Rule, all_hands
from points24.tasks.solver import solutions

LETTER = {1: "A", 11: "J", 12: "Q", 13: "K"}
SIGNS = "0123456789AJQK+-*/()[]{}=×÷−·^!%.,:;#$`'\"\\ \n\t"
PIECES = (
    *("<think>", "</think>", '"formula": "', "\\boxed{", "\\frac{", "\\frac{8}{3}", "**", "```", "formula", "13+5*2+1"),
    *("24", "= 24", "=24", "\\times ", "\\cdot", "\\text{", "<sup>2</sup>", "&times;", "&#215;", "&notit;", "&#x80;"),
    *("\n= 24", "+\n", "\n", "→", "=>", "is wrong", "not ", "'s wrong", "~~", "no", "wait, ", "K(13)", "13 (K)", "- ", "1. ", "| ", "\r\n"),
    *("\u2028", "\x1c", "\x85", "\xa0", "\u200b", "\ufe0f", "²", "½", "Ⅳ", "１", "＋", "．", "，", "✅", "😀", "𝟙", "é"),
    *("ſ", "\u212a", "٣", "’", "…", "sqrt", "squared", "mod", "n*", "+n", "√", "x", "X", " times ", "divided by", "\\\\"),
    *("\\,", "\\(", "\\]", ".0", "<answer>", "</answer>", '["13","+"]', "&=", "\\begin{aligned}", "\\end{aligned}"),
    *('{"cards": [], "number": [], "formula": "', '"}', '\\"', "\\u00d7", "\\n", "null", "NaN", '"cards": 1,', "\ud800"),
)  # fmt: skip


def random_deal(rng: random.Random) -> Deal:
    own = Rule(*(rng.randrange(1, 30) for _ in range(3)))
    return Deal(tuple(rng.choices(RANKS, k=4)), rng.choice([RULES["ood"], RULES["ood"], RULES["id"], own]))


@cache
def _won() -> list[tuple[tuple[str, ...], str]]:
    """Some hands, each with its solutions under the rules."""
    hands = random.Random(0).sample(all_hands(), 150)
    return [
        (hand, won)
        for hand in hands
        for rule in RULES.values()
        for won in solutions(Deal(hand, rule).values, 24)
    ]


def random_formula(rng: random.Random) -> tuple[Deal, str]:
    """A formula of a deal's numbers, under its rule or another; often right, often altered."""
    deal = random_deal(rng)
    if rng.random() < 0.3:
        hand, formula = rng.choice(_won())
        deal = Deal(tuple(rng.sample(hand, 4)), deal.rule)
        return deal, altered(rng, formula) if rng.random() < 0.2 else formula
    values = list(rng.choice([deal, deal.under(RULES["id"]), deal.under(RULES["ood"])]).values)
    if rng.random() < 0.2:
        values[rng.randrange(4)] = rng.choice([1, 2, 10, 13, 24])
    rng.shuffle(values)
    flexible = rng.random() < 0.4
    parts = [
        LETTER.get(value, str(value)) if flexible and rng.random() < 0.2 else str(value) for value in values
    ]
    while len(parts) > 1:
        place = rng.randrange(len(parts) - 1)
        joined = rng.choice("++-**/×÷−" if flexible else "++-**/").join(parts[place : place + 2])
        parts[place : place + 2] = [f"({joined})" if rng.random() < 0.5 else joined]
    formula = parts[0]
    if flexible and rng.random() < 0.5:
        formula += rng.choice(["=24", " = 24", "=25", " = 24!", "=24 ✅", " = 3*8 = 24", " = 5 = 24"])
    return deal, altered(rng, formula) if rng.random() < 0.3 else formula


def random_reply(rng: random.Random, replies: Sequence[tuple[Deal, str]]) -> tuple[Deal, str]:
    """One of the replies, altered; or pieces in any order."""
    if rng.random() < 0.75:
        deal, reply = rng.choice(replies)
        return deal, altered(rng, reply)
    return random_deal(rng), "".join(_piece(rng) for _ in range(rng.randrange(1, 25)))


def altered(rng: random.Random, text: str) -> str:
    for _ in range(rng.randrange(1, 4)):
        start = rng.randrange(len(text) + 1)
        end = start + rng.choice([0, 0, 1, 2, 3])
        text = text[:start] + (_piece(rng) if rng.random() < 0.7 else "") + text[end:]
    return text


def _piece(rng: random.Random) -> str:
    return rng.choice(PIECES if rng.random() < 0.65 else SIGNS)
