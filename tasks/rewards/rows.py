"""A hand set as the rows that trainers read: one function per trainer, by name in `FORMATS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from points24.tasks.cards import Deal
from points24.tasks.hand_sets import HandSet
from points24.tasks.protocols.protocol import usual_protocol
from points24.tasks.rewards.reward import columns_of, label_of
from points24.tasks.solver import solutions

Row = dict[str, Any]


def plain(hands: HandSet, place: int) -> Row:
    """The deal with its numbers, its weight and every solution; one where it takes long to list all."""
    deal = hands.deals[place]
    known = {"numbers": deal.values, "weight": hands.weights[place]}
    if hands.examples:
        return columns_of(deal) | known | {"solution": hands.examples[place]}
    return columns_of(deal) | known | {"solutions": solutions(deal.values, deal.target)}


def trl(hands: HandSet, place: int) -> Row:
    """``prompt`` as messages, and the columns that `trl_reward` reads."""
    deal = hands.deals[place]
    return {"prompt": _messages(deal)} | columns_of(deal)


def verl(hands: HandSet, place: int) -> Row:
    """The five fields that verl's data preparation asks for; the deal is the ground truth."""
    deal = hands.deals[place]
    return {
        "data_source": f"points24/{hands.name}",
        "prompt": _messages(deal),
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": label_of(deal)},
        "extra_info": {"index": place} | columns_of(deal),
    }


def openrlhf(hands: HandSet, place: int) -> Row:
    """``prompt`` as messages, and the deal as ``label``."""
    deal = hands.deals[place]
    return {"prompt": _messages(deal), "label": label_of(deal)}


FORMATS: dict[str, Callable[[HandSet, int], Row]] = {"trl": trl, "verl": verl, "openrlhf": openrlhf}
"""The trainers' rows by name."""


def _messages(deal: Deal) -> list[dict[str, str]]:
    return [{"role": "user", "content": usual_protocol(deal.rule).prompt.render(deal)}]
