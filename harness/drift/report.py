"""The report on drift: drift.json, drift.csv and curves.json for machines, drift.md for people."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from points24.harness.drift.curves import Curve, as_json, averaged
from points24.harness.drift.quantities import QUANTITIES
from points24.tasks.errors import InputError
from points24.tasks.validation import errors_in_one_line

Row = Mapping[str, Any]
"""What `points24.harness.drift.drift` finds of a matrix in a checkpoint."""
_CURVES: TypeAdapter[list[Curve]] = TypeAdapter(list[Curve])
_TRAJECTORY = ("values", "change", "unchanged", "head_left", "head_right", "tail_left", "tail_right")
_HEAD = ("head_left", "head_right")
_FAR = 3
"""A matrix has turned where its angle is so many times that of rounding."""


class Report(NamedTuple):
    """What a folder of `points24 drift` holds."""

    names: list[str]
    """Of all checkpoints, the first one first."""
    rows: Sequence[Row]
    curves: list[Curve]


def short_names(given: Sequence[str]) -> list[str]:
    """The last part of each path or hub id, and the one before it where two would be called the same."""
    last = [Path(name).name for name in given]
    return [
        "/".join(Path(name).parts[-2:]) if last.count(short) > 1 else short
        for name, short in zip(given, last, strict=True)
    ]


def write_report(folder: Path, report: Report, record: Mapping[str, Any]) -> None:
    """Fill a folder. `record` says where this comes from."""
    names, rows, curves = report
    (folder / "drift.json").write_text(
        json.dumps({**record, "checkpoints": names, "matrices": rows}, indent=1) + "\n"
    )
    lines = ",\n".join(json.dumps(as_json(curve)) for curve in averaged(curves))
    (folder / "curves.json").write_text(f"[\n{lines}\n]\n")
    with (folder / "drift.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        floors = [f"{name}_floor" for name in QUANTITIES]
        writer.writerow(["checkpoint", "tensor", "module", "layer", *QUANTITIES, *floors])
        for row in rows:
            place = [names[1 + row["step"]], row["tensor"], row["module"], row["layer"]]
            measured = [
                quantity.of(facts) for facts in (row, row["floor"]) for quantity in QUANTITIES.values()
            ]
            writer.writerow([*place, *measured])
    (folder / "drift.md").write_text(_markdown(names, rows), "utf-8")


def read_report(folder: Path) -> Report:
    """Raises: InputError: the folder is none of `points24 drift`, or of a version that made no curves."""
    try:
        found = json.loads((folder / "drift.json").read_text("utf-8"))
        names, rows = found["checkpoints"], found["matrices"]
        for row in rows:
            _check(row)
        text = (folder / "curves.json").read_text("utf-8")
    except OSError as e:
        raise InputError(f"{e.filename}: {e.strerror}; expected the output of points24 drift") from e
    except (ValueError, KeyError, TypeError) as e:
        raise InputError(f"{folder / 'drift.json'}: expected the drift.json of points24 drift") from e
    with errors_in_one_line(Curve, str(folder / "curves.json")):
        return Report(names, rows, _CURVES.validate_json(text))


def _check(row: Row) -> None:
    """Raises: KeyError, TypeError: the row lacks something."""
    missing = {"step", "tensor", "module", "layer"} - row.keys()
    if missing:
        raise KeyError(*missing)
    for facts in (row, row["floor"]):
        for quantity in QUANTITIES.values():
            quantity.of(facts)


def _markdown(names: Sequence[str], rows: Sequence[Row]) -> str:
    final = [row for row in rows if row["step"] == len(names) - 2]
    floors = [row["floor"] for row in final]
    return "\n".join(
        [
            f"# Drift from {names[0]}",
            "",
            f"Means over the {len(final)} matrices inside the layers, to {names[-1]}, beside what rounding "
            "to bf16 alone does: every element moved at random within its rounding cell. A number near that "
            "says nothing about training.",
            "",
            f"| quantity | {names[-1]} | bf16 alone | what it is |",
            "|---|---|---|---|",
            *(
                f"| {q.title} | {q.shown(q.mean(final))} | {q.shown(q.mean(floors))} | {q.meaning} |"
                for q in QUANTITIES.values()
            ),
            "",
            "Vectors of nearly equal singular values turn into each other freely, so those of equal rank may "
            "be far apart while their span stays where it is.",
            "",
            "## Where",
            "",
            *_where(final),
            "",
            "## Over the checkpoints",
            "",
            *_trajectory(names, rows),
            "",
            "Rank by rank, by module and layer, as a picture: `points24 plot drift` with this folder.",
            "",
        ]
    )


def _trajectory(names: Sequence[str], rows: Sequence[Row]) -> list[str]:
    chosen = [QUANTITIES[name] for name in _TRAJECTORY]
    lines = ["| checkpoint | " + " | ".join(q.title for q in chosen) + " |", "|---" * (1 + len(chosen)) + "|"]
    for step, name in enumerate(names[1:]):
        mine = [row for row in rows if row["step"] == step]
        lines.append(f"| {name} | " + " | ".join(q.shown(q.mean(mine)) for q in chosen) + " |")
    floors = [row["floor"] for row in rows]
    return [*lines, "| *bf16 alone* | " + " | ".join(q.shown(q.mean(floors)) for q in chosen) + " |"]


def head_angle(facts: Mapping[str, Any]) -> float:
    """Mean principal angle of the heads of both sides, in degrees."""
    return fmean(QUANTITIES[name].of(facts) or 0.0 for name in _HEAD)


def _where(rows: Sequence[Row]) -> list[str]:
    """The modules and layers whose heads turned most and least, in sentences."""
    lines = []
    for key in ("module", "layer"):
        angles: dict[Any, list[float]] = defaultdict(list)
        for row in rows:
            angles[row[key]].append(head_angle(row))
        means = {group: fmean(found) for group, found in angles.items()}
        most, least = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
        lines.append(
            f"- By {key}, the head turned most in {most} ({means[most]:.3g}° on average over both sides), "
            f"least in {least} ({means[least]:.3g}°)."
        )
    far = sum(head_angle(row) > _FAR * head_angle(row["floor"]) for row in rows)
    lines.append(f"- {far} of {len(rows)} heads turned by more than three times what rounding alone does.")
    return lines
