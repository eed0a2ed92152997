"""Drift from one checkpoint to one or several others, matrix by matrix, beside the floor of bf16 rounding."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from tqdm import tqdm

from points24.harness.checkpoints.read import FLOATS, Checkpoint
from points24.harness.drift.angles import compare, rounding_neighbour
from points24.harness.recovery.architecture import Family, text_config
from points24.tasks.errors import InputError

METRICS = {
    "values": "singular values, relative change",
    "change": "matrix, relative change",
    "leading": "leading 20% of right vectors, mean angle in degrees",
    "trailing": "trailing 20% of right vectors, mean angle in degrees",
}
"""What the tables and the maps show."""


def drift(
    first: Checkpoint, others: Sequence[Checkpoint], family: Family, device: torch.device
) -> list[dict[str, Any]]:
    """One row for each matrix inside the layers and each other checkpoint: see `compare`.

    Raises:
        InputError: NaN or Inf in a weight.
    """
    config = text_config(first.config)
    rows = []
    for name in tqdm(first.tensors, "drift", unit="tensor", disable=None):
        stored = first.tensors[name]
        parts = [p for p in family.parts(name, stored.shape, config) if p.layer is not None]
        if not parts or stored.dtype not in FLOATS:
            continue
        ours = first.read(name)
        for part in parts:
            a = part.matrix(ours).to(device)
            try:
                floor = compare(a, rounding_neighbour(a))
                for step, other in enumerate(others):
                    b = part.matrix(other.read(name)).to(device)
                    place = {
                        "tensor": name,
                        "module": part.module,
                        "layer": part.layer,
                        "shape": list(a.shape),
                    }
                    rows.append({"step": step} | place | compare(a, b) | {"floor": floor})
            except ValueError as e:
                raise InputError(f"{name}: {e}") from e
    if not rows:
        raise InputError(f"{first.folder}: no matrix belongs to a layer; give --layer-prefix")
    return rows


def metric(facts: dict[str, Any], name: str) -> float:
    """One number of `METRICS`; 0 where it is not defined (a zero matrix)."""
    return facts[name]["20%"]["mean"] if name in ("leading", "trailing") else facts[name] or 0.0


def write_report(
    folder: Path, names: Sequence[str], rows: Sequence[dict[str, Any]], record: dict[str, Any]
) -> None:
    """drift.json, drift.csv, drift.md, and a heat map of each metric where matplotlib is installed.

    Args:
        folder: exists and is empty
        names: of the checkpoints, the first and the others
        rows: from `drift`
        record: where this comes from
    """
    (folder / "drift.json").write_text(
        json.dumps(record | {"checkpoints": names, "matrices": rows}, indent=1) + "\n"
    )
    with (folder / "drift.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        floors = [f"{name}_floor" for name in METRICS]
        writer.writerow(["checkpoint", "tensor", "module", "layer", *METRICS, *floors])
        for row in rows:
            place = [names[1 + row["step"]], row["tensor"], row["module"], row["layer"]]
            measured = [metric(facts, name) for facts in (row, row["floor"]) for name in METRICS]
            writer.writerow([*place, *measured])
    maps = [path for step in range(len(names) - 1) for path in _heat_maps(folder, names, rows, step)]
    (folder / "drift.md").write_text(_markdown(names, rows, maps))


def _markdown(names: Sequence[str], rows: Sequence[dict[str, Any]], maps: Sequence[str]) -> str:
    lines = [
        f"# Drift from {names[0]}",
        "",
        "Means over matrices; in brackets what bf16 rounding alone gives.",
        "",
    ]
    lines += ["| checkpoint | " + " | ".join(METRICS.values()) + " |", "|---" * (1 + len(METRICS)) + "|"]
    for step, name in enumerate(names[1:]):
        mine = [row for row in rows if row["step"] == step]
        cells = [
            f"{fmean(metric(r, m) for r in mine):.3g} ({fmean(metric(r['floor'], m) for r in mine):.2g})"
            for m in METRICS
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    last = [row for row in rows if row["step"] == len(names) - 2]
    lines += ["", f"## Where the rotation is, in {names[-1]}", "", *_in_words(last)]
    lines += [f"\n![{path}]({path})" for path in maps]
    if not maps:
        lines += ["", "No heat maps: matplotlib is not installed (`pip install points24[plots]`)."]
    return "\n".join(lines) + "\n"


def _in_words(rows: Sequence[dict[str, Any]]) -> list[str]:
    angles: dict[str, dict[Any, list[float]]] = {"module": defaultdict(list), "layer": defaultdict(list)}
    for row in rows:
        for key, groups in angles.items():
            groups[row[key]].append(metric(row, "leading"))
    lines = []
    for key, groups in angles.items():
        means = {group: fmean(found) for group, found in groups.items()}
        most, least = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
        lines.append(
            f"- By {key}: most in {most} ({means[most]:.3g} degrees on average), "
            f"least in {least} ({means[least]:.3g})."
        )
    above = sum(metric(row, "leading") > 3 * metric(row["floor"], "leading") for row in rows)
    lines.append(f"- {above} of {len(rows)} matrices rotated by more than three times the floor.")
    energy = fmean(row["energy"]["20%"] or 0.0 for row in rows)
    lines.append(f"- {energy:.1%} of the change lies inside the first checkpoint's leading 20% subspaces.")
    return lines


def _heat_maps(folder: Path, names: Sequence[str], rows: Sequence[dict[str, Any]], step: int) -> list[str]:
    """Layer x module, one file for each metric; experts are averaged. None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return []
    mine = [row for row in rows if row["step"] == step]
    modules, layers = list(dict.fromkeys(r["module"] for r in mine)), sorted({r["layer"] for r in mine})
    paths = []
    for name, title in METRICS.items():
        cells: dict[tuple[int, str], list[float]] = defaultdict(list)
        for row in mine:
            cells[row["layer"], row["module"]].append(metric(row, name))
        grid = [
            [fmean(cells[layer, m]) if cells[layer, m] else float("nan") for m in modules] for layer in layers
        ]
        figure = Figure(figsize=(2 + 0.7 * len(modules), 2 + 0.25 * len(layers)), layout="constrained")
        axes = figure.add_subplot(title=f"{names[0]} to {names[1 + step]}\n{title}", ylabel="layer")
        figure.colorbar(axes.imshow(grid, aspect="auto"))
        axes.set_xticks(range(len(modules)), modules, rotation=45, ha="right")
        axes.set_yticks(range(len(layers)), [str(layer) for layer in layers])
        paths.append(f"{name}_{step}.png")
        figure.savefig(folder / paths[-1])
    return paths
