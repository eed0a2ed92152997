"""Dynamic fine-tuning (arXiv:2508.05629, equation 9): −sg[π(y|x)] log π(y|x), with sg the stopped gradient.

The weight undoes the factor 1/π that the likelihood's gradient puts on improbable tokens. TRL's own loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from points24.trainers.objectives.objective import Objective


@dataclass(frozen=True)
class DFT(Objective):
    """TRL's ``loss_type: dft``."""

    loss_type: ClassVar[str] = "dft"
