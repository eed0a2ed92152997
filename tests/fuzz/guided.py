"""A coverage-guided fuzzer on the same checks: pip install atheris; python -m tests.fuzz.guided answers -runs=1000000."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

atheris: Any = import_module("atheris")  # has no types

with atheris.instrument_imports(include=["points24.tasks"]):
    from points24.tasks.cards import RANKS, RULES, Deal
    from tests.fuzz.checks import KINDS


def one_input(data: bytes) -> None:
    given = atheris.FuzzedDataProvider(data)
    cards = tuple(given.PickValueInList(list(RANKS)) for _ in range(4))
    deal = Deal(cards, RULES[given.PickValueInList(sorted(RULES))])
    text = given.ConsumeUnicode(given.remaining_bytes())
    KINDS[kind].check((deal, text) if kind in ("answers", "replies") else text)


kind = sys.argv.pop(1)
atheris.Setup(sys.argv, one_input)
atheris.Fuzz()
