"""What a judged reply earns: by verdict, or as the paper's environment adds it up."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache

from points24.tasks.cards import Deal
from points24.tasks.errors import InputError
from points24.tasks.protocols.protocol import read_protocol
from points24.tasks.protocols.verifiers.paper import examine_formula
from points24.tasks.verdict import Judgement, Verdict

Reward = Callable[[Deal, Judgement], float]
"""The reward of a reply, from its deal and its judgement under the run's protocol."""

Table = str | Mapping[str, float]
"""``paper``, a name in `TABLES`, or a reward for every verdict."""

TABLES: dict[str, dict[Verdict, float]] = {
    "verdict": {Verdict(name): value for name, value in read_protocol("points24").rewards.items()},
    "sparse": dict.fromkeys(Verdict, 0.0) | {Verdict.CORRECT: 1.0},
}
"""``verdict`` has the values of arXiv:2508.16546, one per verdict (older records name it ``paper``);
``sparse`` is 1 for a correct formula and 0 otherwise."""

PAPER = "paper"
"""What the paper's environment pays: the rewards of all that its verifier finds in a formula, added up."""


def rewards(given: Table) -> Reward:
    """The reward of a name, or of a custom table, which has to name every verdict.

    Raises:
        InputError: unknown name, unknown verdict, a verdict that is missing, or a reward that is not finite.
    """
    return _named(given) if isinstance(given, str) else _paying(_checked(given))


@lru_cache
def _named(name: str) -> Reward:
    if name == PAPER:
        pay = read_protocol(PAPER).reward
        return lambda deal, judgement: pay(examine_formula(deal, judgement.formula))
    if name not in TABLES:
        names = " or ".join((PAPER, *TABLES))
        raise InputError(f"rewards: expected {names} or a table, found {name!r}")
    return _paying(TABLES[name])


def _paying(table: Mapping[Verdict, float]) -> Reward:
    return lambda _, judgement: table[judgement.verdict]


def _checked(table: Mapping[str, float]) -> dict[Verdict, float]:
    verdicts = [verdict.value for verdict in Verdict]
    if unknown := sorted(map(str, table.keys() - set(verdicts))):
        raise InputError(f"rewards: unknown verdict {', '.join(unknown)}; allowed: {', '.join(verdicts)}")
    if missing := [name for name in verdicts if name not in table]:
        raise InputError(f"rewards: no reward for {', '.join(missing)}")
    for name, value in table.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise InputError(f"rewards: expected a finite number for {name}, found {value!r}")
    return {Verdict(name): float(value) for name, value in table.items()}
