"""The shift record, one line of JSON: what one checkpoint believes about the deals of one task.

`points24 shift` makes it; its quantities are defined in `points24.harness.shift.measures`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from points24.harness.files import json_lines
from points24.harness.records.checksum import line_of, verified
from points24.harness.records.record import AtLeastOne, Count, Digest, Text, one_of
from points24.tasks.errors import InputError
from points24.tasks.validation import STRICT_CONFIG, errors_in_one_line

SCHEMA = 1
"""Goes up whenever a field is added, removed or changes its meaning."""
DIGITS = 6
"""Significant digits of a stored number."""

MEASURES = {
    "nll": "NLL of the right reply, nats per token",
    "nll_rival": "NLL of the reply that is right under the rival rule, nats per token",
    "nll_numbers": "the same of the right reply's list of numbers",
    "nll_numbers_rival": "the same of the rival reply's list of numbers",
    "nll_formula": "the same of the right reply's formula",
    "nll_formula_rival": "the same of the rival reply's formula",
    "preference": "rule preference: log-probability of the right reply less that of the rival one, nats",
    "preference_numbers": "the same of the lists of numbers alone: the reading of the cards",
    "preference_formula": "the same of the formulas alone: the search",
    "rival_preferred": "share of deals whose rule preference is below 0",
    "rival_preferred_numbers": "the same by the lists of numbers alone",
    "brier": "Brier score of the choice between the two replies",
    "calibration_error": "expected calibration error of the choice between the two replies",
    "kl_samples": "KL(base ‖ checkpoint) on the base's own samples, nats per token",
    "kl_reference": "KL(base ‖ checkpoint) on the right replies, nats per token",
    "reverse_kl_samples": "KL(checkpoint ‖ base) on the base's own samples, nats per token",
    "reverse_kl_reference": "KL(checkpoint ‖ base) on the right replies, nats per token",
    "entropy_samples": "entropy of the next token on the base's own samples, nats",
    "entropy_reference": "entropy of the next token on the right replies, nats",
    "overlap_samples": "share of the base's five most likely tokens kept, on the base's own samples",
    "overlap_reference": "share of the base's five most likely tokens kept, on the right replies",
}
"""Name -> meaning of every quantity that has one value per deal (the calibration error: per checkpoint)."""
WEIGHTS = {
    "change": "‖ΔW‖ / ‖W‖, mean over the matrices",
    "values": "relative change of the singular values, mean over the matrices",
    "misalignment": "1 − |cosine| of singular vectors of equal rank, mean, less that of bf16 rounding",
    "unchanged": "share of elements whose bf16 value is the same (update sparsity), mean over the matrices",
}
"""Likewise of the weights, as `points24 drift` measures them."""


@dataclass(frozen=True, config=STRICT_CONFIG)
class Estimate:
    """A mean over deals with its 95 % interval, where there is one."""

    mean: float
    low: float | None
    high: float | None
    n: AtLeastOne
    """Deals."""

    @property
    def interval(self) -> tuple[float, float] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True, config=STRICT_CONFIG, kw_only=True)
class Layer:
    """The hidden states of the last prompt token behind one layer; see `points24.harness.shift.geometry`."""

    layer: AtLeastOne
    cka: float | None
    """Linear CKA with the base, 0 … 1; None where all deals have one state."""
    shift: float | None
    """How far the centroid has moved along the base's ID–OOD axis, in units of that axis: an OOD centroid at
    −1 lies where the base had ID. None without tasks of both rules."""
    centroid: tuple[float, float] | None
    """In the base's plane: along that axis (the base's ID centroid is 0, its OOD centroid 1), and along the
    direction of most variance at right angles to it, in the same units."""
    spread: tuple[float, float, float] | None
    """Covariance of the deals in that plane: xx, xy, yy."""


@dataclass(frozen=True, config=STRICT_CONFIG, kw_only=True)
class ShiftRecord:
    """One line of a shift file."""

    schema: Annotated[int, one_of(SCHEMA)] = SCHEMA
    model: Text
    """As in `Record.model`."""
    step: Count | None
    """0 for the base."""
    weights_sha256: Digest | None
    base: Text
    base_sha256: Digest | None
    task: Text
    task_version: Text | None
    rule: Text
    """The rule that the prompt states."""
    rival: Text
    """The rule that it is weighed against: the memorised one, or for a task under that, `ood`."""
    hand_set_digest: Digest
    template_digest: Digest
    chat_template_digest: Digest | None
    dtype: Text
    n: AtLeastOne
    """Deals."""
    n_rival: Count
    """Deals that have a reply under the rival rule with other numbers."""
    samples: dict[str, int] | None
    """How the base's own samples were drawn; None where there are none."""
    training_loss: float | None
    """The last one that the run has logged up to this step: a mean over some steps, in nats per token."""
    measures: dict[Annotated[str, one_of(*MEASURES)], Estimate]
    layers: tuple[Layer, ...]
    weights: dict[Annotated[str, one_of(*WEIGHTS)], float]

    def line(self) -> str:
        """The record as one line of JSON with a checksum, without the line break."""
        return line_of(_rounded(asdict(self)))


def shift_record_of(row: object) -> ShiftRecord:
    """Validate a decoded line of JSON.

    Raises:
        InputError: it is no valid record, or not what its checksum was taken over.
    """
    fields = verified(row)
    with errors_in_one_line(ShiftRecord, "shift record"):
        return TypeAdapter(ShiftRecord).validate_json(json.dumps(fields))


def read_shift_records(path: Path) -> list[ShiftRecord]:
    """The records in a file.

    Raises:
        InputError: it cannot be read, or a line is invalid; with the line's number.
    """
    records = []
    for number, row in json_lines(path):
        try:
            records.append(shift_record_of(row))
        except InputError as e:
            raise InputError(f"{path}, line {number}: {e}") from e
    return records


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value
