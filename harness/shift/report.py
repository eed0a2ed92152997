"""The end of a shift: its records in one file, the tables, and which quantity foretells the forgetting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tabulate import tabulate

from points24.harness.analysis.foretelling import foretellings, trajectories
from points24.harness.analysis.shift_summaries import belief_table, foretelling_sentence, foretelling_table
from points24.harness.files import write_text
from points24.harness.records.record import Record
from points24.harness.records.shift import ShiftRecord
from points24.harness.records.store import read_records
from points24.harness.shift.weights import Weights

RECORDS, REPORT, SCORES = "shift.jsonl", "shift.md", "records/scores.jsonl"


def finish(
    records: Sequence[ShiftRecord], folders: Sequence[Path], weights: Weights, out: Path, *, as_json: bool
) -> str:
    """Write ``shift.jsonl``, ``shift.md`` and the runs' scores, and return what to print.

    Args:
        records: of the base and the checkpoints, in the order in which they are shown.
        folders: the checkpoints' folders; their runs' scores are found beside them.
        weights: see `weights_of`.
        out: the folder to write to.
        as_json: return the records, not the report.
    """
    known = [replace(each, weights=dict(_weights(each, weights))) for each in records]
    lines = [record.line() for record in known]
    write_text(out / RECORDS, "".join(f"{line}\n" for line in lines))
    scores = _scores(folders)
    report = _report(known, scores)
    write_text(out / REPORT, report)
    if scores:
        (out / SCORES).parent.mkdir(exist_ok=True)
        write_text(out / SCORES, "".join(f"{score.line()}\n" for score in scores))
    return "\n".join(lines) if as_json else f"{report}\n{out / REPORT}"


def _weights(record: ShiftRecord, weights: Weights) -> dict[str, float]:
    """Of a checkpoint by its name, or the last part of it, as reports of drift name it."""
    for name in (record.model, record.model.rpartition("/")[2]):
        if name in weights:
            return dict(weights[name])
    return {}


def _scores(folders: Sequence[Path]) -> list[Record]:
    """The records of the training runs whose checkpoints these are."""
    stores = dict.fromkeys(folder.resolve().parent / "records" for folder in folders)
    every = [record for store in stores if store.is_dir() for record in read_records(store)]
    return list({record.key: record for record in every}.values())


def _report(records: Sequence[ShiftRecord], scores: Sequence[Record]) -> str:
    parts = ["# Shift", _table(belief_table(records))]
    runs = trajectories(records, scores)
    if found := foretellings(runs):
        parts += ["## Which quantity foretells the forgetting", foretelling_sentence(found, runs)]
        parts.append(_table(foretelling_table(found)))
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[dict[str, str]]) -> str:
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)
