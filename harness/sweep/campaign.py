"""A sweep or an evaluation from its plan to its records: run, retry, gather."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from points24.harness.files import replacing
from points24.harness.records.record import FILTERS, Record
from points24.harness.records.store import add_records
from points24.harness.sweep.config import ScoringConfig, SweepConfig
from points24.harness.sweep.executors import execute
from points24.harness.sweep.jobs import Cell, cells_of, jobs_of
from points24.harness.sweep.run import Results, is_full, keep_cells, no_room, run_cells
from points24.tasks.errors import InputError


class Outcome(NamedTuple):
    """How a campaign ended.

    Attributes:
        cells: all of them.
        records: of those that are done, in their order.
        failed: cell -> why, in one line.
    """

    cells: list[Cell]
    records: list[Record]
    failed: dict[Cell, str]


def conduct(config: ScoringConfig) -> Outcome:
    """Score every cell that is not done yet.

    Raises:
        InputError: bad settings, another campaign in the same folder, no room on the disk.
    """
    cells = cells_of(config)
    results = Results(Path(config.output_dir).expanduser().resolve())
    config.output_dir = str(results.folder)  # other processes may have other working directories
    try:
        results.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(results.folder / ".lock").acquire(timeout=0)
    except Timeout as e:
        raise InputError(f"{results.folder}: another command is at work there") from e
    except OSError as e:
        raise InputError(f"{results.folder}: {e.strerror or e}") from e
    try:
        with lock:
            return _conducted(config, results, cells)
    except OSError as e:
        if is_full(e):
            raise no_room(results.folder) from e
        raise


def _conducted(config: ScoringConfig, results: Results, cells: Sequence[Cell]) -> Outcome:
    with replacing(results.folder / "settings.json") as partial:
        partial.write_text(json.dumps(asdict(config), indent=2, default=str) + "\n", "utf-8")
    done = sum(map(results.is_done, cells))
    if done:
        print(f"points24: {done} of {len(cells)} cells are done already", file=sys.stderr)
    for attempt in range(1 + config.retries):
        todo = [cell for cell in cells if not results.is_done(cell)]
        if not todo:
            break
        if attempt:
            print(f"points24: trying {len(todo)} cells again", file=sys.stderr)
        execute(run_cells, config, jobs_of(todo, config.jobs))
    return _gathered(config, results, cells)


def _gathered(config: ScoringConfig, results: Results, cells: Sequence[Cell]) -> Outcome:
    done = [cell for cell in cells if results.is_done(cell)]
    records = [record for cell in done for record in results.records(cell)]
    (results.folder / "records").mkdir(exist_ok=True)
    add_records(results.folder / "records" / "records.jsonl", records)
    failed = {cell: _why(results.error(cell)) for cell in cells if not results.is_done(cell)}
    if isinstance(config, SweepConfig) and config.keep == "all":
        keep_cells(config, done)
    if isinstance(config, SweepConfig) and config.keep == "best" and not failed:
        keep_cells(config, best_cells(done, results))
    if not failed:
        shutil.rmtree(results.factors, ignore_errors=True)
    return Outcome(list(cells), records, failed)


def best_cells(cells: Sequence[Cell], results: Results) -> list[Cell]:
    """Of every pair the repaired checkpoint with the best strict accuracy on the first OOD task.

    Without such a task the first one decides; of several seeds the sum counts, of equals the first.
    """
    best = []
    for pair in dict.fromkeys(cell.pair for cell in cells if cell.pair):
        won: dict[int | None, int] = {}
        for cell in (cell for cell in cells if cell.pair == pair):
            strict = [r for r in results.records(cell) if r.filter == FILTERS[0]]
            deciding = next((r for r in strict if r.rule == "ood"), strict[0])
            won[cell.recipe] = won.get(cell.recipe, 0) + deciding.k
        chosen = max(won, key=lambda recipe: won[recipe])
        best.append(next(cell for cell in cells if (cell.pair, cell.recipe) == (pair, chosen)))
    return best


def _why(path: Path) -> str:
    return path.read_text("utf-8").splitlines()[0] if path.exists() else "its process broke off"
