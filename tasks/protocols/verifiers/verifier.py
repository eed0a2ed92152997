"""What a verifier is: a function from a reply to findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from points24.tasks.cards import Deal
from points24.tasks.verdict import Judgement

CORRECT = "correct"
"""The finding that ends a dialogue with success."""


@dataclass(frozen=True)
class Note:
    """One thing that a verifier finds in a reply."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    """What its phrase may show."""


@dataclass(frozen=True)
class Verifier:
    """How replies are verified. It has no words and no rewards: those are a protocol's."""

    filter: str
    """The extraction by which it goes, of `points24.tasks.verdict.EXTRACTIONS`."""
    findings: Mapping[str, frozenset[str]]
    """Every kind of finding, with the fields that its phrase may show."""
    examine: Callable[[Deal, object], tuple[Sequence[Note], Judgement]]
    """Deal and reply -> findings in order, and the exact verdict under `filter`."""
