"""The reward of each verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping

from points24.tasks.errors import InputError
from points24.tasks.verdict import Verdict

Rewards = dict[Verdict, float]
Table = str | Mapping[str, float]
"""A name in `TABLES`, or a reward for every verdict."""

TABLES: dict[str, Rewards] = {
    # arXiv:2508.16546 and its environment: correct +5, no solution −1, wrong numbers −2, illegal −3. Its +1
    # for a partial formula has no counterpart here, where a reply is one whole formula.
    "paper": {
        Verdict.CORRECT: 5.0,
        Verdict.WRONG_RULE: -2.0,
        Verdict.WRONG_VALUE: -1.0,
        Verdict.WRONG_NUMBERS: -2.0,
        Verdict.ILLEGAL: -3.0,
        Verdict.NO_ANSWER: -3.0,
    },
    "sparse": dict.fromkeys(Verdict, 0.0) | {Verdict.CORRECT: 1.0},
}
"""``paper`` has the paper's values; ``sparse`` is 1 for a correct formula and 0 otherwise."""


def rewards(table: Table) -> Rewards:
    """A table by its name, or a custom one, which has to name every verdict.

    Raises:
        InputError: unknown name, unknown verdict, a verdict that is missing, or a reward that is not finite.
    """
    if isinstance(table, str):
        if table not in TABLES:
            raise InputError(f"rewards: expected {' or '.join(TABLES)} or a table, found {table!r}")
        return TABLES[table]
    verdicts = [verdict.value for verdict in Verdict]
    if unknown := sorted(map(str, table.keys() - set(verdicts))):
        raise InputError(f"rewards: unknown verdict {', '.join(unknown)}; allowed: {', '.join(verdicts)}")
    if missing := [name for name in verdicts if name not in table]:
        raise InputError(f"rewards: no reward for {', '.join(missing)}")
    for name, value in table.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise InputError(f"rewards: expected a finite number for {name}, found {value!r}")
    return {Verdict(name): float(value) for name, value in table.items()}
