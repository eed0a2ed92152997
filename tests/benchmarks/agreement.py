"""Whether two ways to run the same models gave the same replies: another engine, another dtype, no swaps.

    points24 eval MODEL -o one --engine hf --model_args dtype=float32 --limit 200
    points24 eval MODEL -o two --engine vllm --model_args dtype=float32 --limit 200
    python -m tests.benchmarks.agreement one two

Compares every reply of the outputs of two commands (`eval` or `sweep`) on the cells and deals that both have,
prints one Markdown row a model and task, and then each deal whose verdicts differ, with both replies.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

from tabulate import tabulate

Cell = tuple[str, str]
"""A model (its name says the recipe) and a task."""


def answers(folder: Path) -> dict[Cell, dict[int, tuple[str, str]]]:
    """Cell -> deal's number -> (reply, verdict under strict-match)."""
    found: dict[Cell, dict[int, tuple[str, str]]] = defaultdict(dict)
    for path in sorted(folder.glob("jobs/*/lm_eval/*/samples_*.jsonl")):
        job = json.loads((path.parents[2] / "job.json").read_text())
        cell = job["model"], path.stem.removeprefix("samples_").rsplit("_", 1)[0]
        for row in map(json.loads, path.read_text().splitlines()):
            if row["filter"] == "strict-match":
                judged = json.loads(row["filtered_resps"][0])
                found[cell][row["doc_id"]] = row["resps"][0][0], judged["verdict"]
    return found


def main(first: Path, second: Path) -> None:
    one, two = answers(first), answers(second)
    cells = [cell for cell in one if cell in two]
    if not cells:
        sys.exit(f"no cell in both: {sorted(one)}, {sorted(two)}")
    if alone := len(one.keys() ^ two.keys()):
        print(f"left out: {alone} cells that only one of them has", file=sys.stderr)
    rows, differing = [], []
    for cell in cells:
        shared = sorted(one[cell].keys() & two[cell].keys())
        pairs = [(one[cell][deal], two[cell][deal]) for deal in shared]
        same = [sum(a[part] == b[part] for a, b in pairs) for part in (0, 1)]
        rows.append([*cell, len(shared), *same])
        differing += [[*cell, deal, *ours, *theirs]
                      for deal, (ours, theirs) in zip(shared, pairs, strict=True) if ours[1] != theirs[1]]  # fmt: skip
    print(tabulate(rows, ["model", "task", "deals", "same reply", "same verdict"], "github"))
    for words in differing:
        print(*words, sep=" | ")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
