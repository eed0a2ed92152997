"""What `points24 drift` has measured on the weights, for the table of a shift: nothing is computed again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from points24.tasks.errors import InputError

Weights = Mapping[str, Mapping[str, float]]
"""Name of a checkpoint, as the report gives it -> name in `WEIGHTS` -> its mean over the matrices."""
_PLAIN = ("change", "values", "unchanged")
"""Those that a report has under the same name for each matrix, where it has them."""


def weights_of(reports: Iterable[Path]) -> dict[str, dict[str, float]]:
    """The means of some reports of drift, by checkpoint.

    Raises:
        InputError: a file is no report of drift.
    """
    found: dict[str, dict[str, float]] = {}
    for path in reports:
        try:
            report = json.loads(path.read_text("utf-8"))
            names, rows = report["checkpoints"], report["matrices"]
            found |= {name: _means(rows, step) for step, name in enumerate(names[1:])}
        except OSError as e:
            raise InputError(f"{path}: {e.strerror or e}") from e
        except (ValueError, KeyError, TypeError) as e:
            raise InputError(f"{path}: expected the drift.json of points24 drift") from e
    return found


def _means(rows: Iterable[Mapping[str, Any]], step: int) -> dict[str, float]:
    mine = [row for row in rows if row["step"] == step]
    known = {name: [row[name] for row in mine if row.get(name) is not None] for name in _PLAIN}
    turned = [fmean(row["floor"]["alignment"]) - fmean(row["alignment"]) for row in mine]
    means = {name: fmean(values) for name, values in known.items() if values}
    return means | ({"misalignment": fmean(turned)} if turned else {})
