"""Verifiers, one file each, found by name."""

from __future__ import annotations

from points24.tasks.protocols.verifiers.paper import PAPER
from points24.tasks.protocols.verifiers.verdict import VERDICT

VERIFIERS = {"verdict": VERDICT, "paper": PAPER}
