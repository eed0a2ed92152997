"""What SFT minimises: one file each, found by name."""

from __future__ import annotations

from typing import Any

from points24.harness.config import configured
from points24.tasks.errors import InputError
from points24.trainers.objectives.dft import DFT
from points24.trainers.objectives.kl import KL
from points24.trainers.objectives.nll import NLL
from points24.trainers.objectives.objective import Objective
from points24.trainers.objectives.psft import PSFT
from points24.trainers.objectives.rpsft import RPSFT

OBJECTIVES: dict[str, type[Objective]] = {
    "nll": NLL,
    "dft": DFT,
    "kl": KL,
    "psft": PSFT,
    "rpsft": RPSFT,
}


def objective(name: str, args: dict[str, Any]) -> Objective:
    """An objective by name.

    Raises:
        InputError: there is none, or one of its arguments is unknown or out of range.
    """
    if name not in OBJECTIVES:
        raise InputError(f"objective: expected {' or '.join(OBJECTIVES)}, found {name!r}")
    try:
        return configured(OBJECTIVES[name], args)
    except InputError as e:
        raise InputError(f"objective_args: {e}") from e
