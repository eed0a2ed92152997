"""What SFT shows: deals under one rule or several, in one wording or several, with or without working."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from points24.tasks.cards import FACES, RULES, Deal, Rule, parse_rule
from points24.tasks.errors import InputError
from points24.tasks.prompts import Template
from points24.tasks.protocols.protocol import Protocol
from points24.tasks.working import WORKINGS, worked
from points24.trainers.deals import completion_row, examples, prompt_row

_WEIGHT, _RULE = "weight", "rule"
_PROBE, _PROBE_FORMULA = Deal(("K", "5", "A", "2"), RULES["ood"]), "13+5*2+1"


class Shown(NamedTuple):
    """A rule in training, with its share of the rows before all weights are divided by their sum."""

    rule: Rule
    weight: float


def shown_rules(given: Sequence[str | dict[str, Any]]) -> tuple[Shown, ...]:
    """Read rules such as ``id``, ``{J: 9, Q: 9, K: 9}`` and ``{rule: id, weight: 3}``.

    Raises:
        InputError: no such rule, one twice, a weight that is not positive, or a face card with its value of
            the OOD rule: then the test would be a rule of training.
    """
    found = tuple(map(_shown, given))
    for n, (rule, weight) in enumerate(found):
        if not weight > 0:
            raise InputError(f"rules: expected a weight above 0, found {weight}")
        if rule in [earlier.rule for earlier in found[:n]]:
            raise InputError(f"rules: {rule.name} stands there twice; give it a weight instead")
        for face in FACES:
            if rule.value(face) == RULES["ood"].value(face):
                raise InputError(
                    f"rules: {rule.name} has {face}={rule.value(face)}, as the OOD rule has; "
                    "a rule of training must not share a value with it"
                )
    return found


def _shown(entry: str | dict[str, Any]) -> Shown:
    if isinstance(entry, str):
        return Shown(parse_rule(entry), 1.0)
    settings = dict(entry)
    weight = settings.pop(_WEIGHT, 1.0)
    name = (
        settings.pop(_RULE)
        if settings.keys() == {_RULE}
        else ",".join(f"{k}={v}" for k, v in settings.items())
    )
    if isinstance(weight, bool) or not isinstance(weight, (int, float)):
        raise InputError(f"rules: expected a number as weight, found {weight!r}")
    return Shown(parse_rule(str(name)), float(weight))


def check_working(working: str, asked: Protocol) -> None:
    """Raise `InputError` if there is no such working, or if the protocol does not leave it out."""
    if working not in WORKINGS:
        raise InputError(f"working: expected {' or '.join(WORKINGS)}, found {working!r}")
    thought, formula = worked(_PROBE, _PROBE_FORMULA, working, random.Random(0))
    if not asked.verify(_PROBE, thought + asked.reply(_PROBE, formula)).success:
        raise InputError(
            f"working: protocol {asked.name} allows none: it reads {working!r} as part of the formula"
        )


class Shows(NamedTuple):
    """All that determines the rows of an SFT run but its tokenizer."""

    rules: tuple[Shown, ...]
    wordings: tuple[Template, ...]
    """One is drawn for each row."""
    solutions: str
    working: str
    seed: int


def solved_deals(shows: Shows) -> Iterator[tuple[Deal, str]]:
    """Endless deals, each with a formula that solves it.

    One rule gives the stream of `examples`; of several rules, each has its own such stream, and which comes
    next is drawn by weight.
    """
    streams = [examples(rule, shows.solutions, shows.seed) for rule, _ in shows.rules]
    rng, weights = random.Random(f"{shows.seed}/rules"), [shown.weight for shown in shows.rules]
    while True:
        yield next(rng.choices(streams, weights)[0])


def rows(shows: Shows, asked: Protocol, *, chat: bool) -> Iterator[dict[str, Any]]:
    """Endless rows with TRL's columns ``prompt`` and ``completion``."""
    wording, work = (random.Random(f"{shows.seed}/{purpose}") for purpose in ("wordings", "working"))
    for deal, solution in solved_deals(shows):
        thought, formula = worked(deal, solution, shows.working, work)
        prompt = prompt_row(deal, wording.choice(shows.wordings), chat)
        yield prompt | completion_row(deal, formula, asked, chat, thought)
