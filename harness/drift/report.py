"""The report on drift: drift.json and drift.csv for machines, drift.md and heat maps for people."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

METRICS = {
    "values": "singular values, relative change",
    "change": "matrix, relative change",
    "leading": "leading 20% of right vectors, mean angle in degrees",
    "trailing": "trailing 20% of right vectors, mean angle in degrees",
}
"""What the tables and the maps show."""


def metric(facts: dict[str, Any], name: str) -> float:
    """One number of `METRICS`; 0 where it is not defined (a zero matrix)."""
    return facts[name]["20%"]["mean"] if name in ("leading", "trailing") else facts[name] or 0.0


def write_report(
    folder: Path, names: Sequence[str], rows: Sequence[dict[str, Any]], record: dict[str, Any]
) -> None:
    """drift.json, drift.csv, drift.md, and a heat map of each metric where matplotlib is installed.

    `names` are those of all checkpoints, the first one first; `rows` come from `drift`; `record` says where
    this comes from.
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
        "| checkpoint | " + " | ".join(METRICS.values()) + " |",
        "|---" * (1 + len(METRICS)) + "|",
    ]
    for step, name in enumerate(names[1:]):
        mine = [row for row in rows if row["step"] == step]
        cells = [
            f"{fmean(metric(r, m) for r in mine):.3g} ({fmean(metric(r['floor'], m) for r in mine):.2g})"
            for m in METRICS
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    final = [row for row in rows if row["step"] == len(names) - 2]
    lines += ["", f"## Where the rotation is, in {names[-1]}", "", *_where(final)]
    lines += [f"\n![{path}]({path})" for path in maps]
    if not maps:
        lines += ["", "No heat maps: matplotlib is not installed (`pip install points24[plots]`)."]
    return "\n".join(lines) + "\n"


def _where(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The modules and layers that rotated most and least, in sentences."""
    lines = []
    for key in ("module", "layer"):
        angles: dict[Any, list[float]] = defaultdict(list)
        for row in rows:
            angles[row[key]].append(metric(row, "leading"))
        means = {group: fmean(found) for group, found in angles.items()}
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
