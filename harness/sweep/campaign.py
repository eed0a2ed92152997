"""A sweep or an evaluation from its plan to its records: run, retry, gather."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from points24.harness.analysis.recovery import Recovery, recoveries
from points24.harness.executors.workers import Workers
from points24.harness.files import write_text
from points24.harness.records.record import Record
from points24.harness.records.store import add_records
from points24.harness.sweep.config import ScoringConfig, SweepConfig
from points24.harness.sweep.cost import bytes_of
from points24.harness.sweep.jobs import Job, jobs_of, shares_of
from points24.harness.sweep.run import Results, is_full, keep_jobs, no_room, run_jobs
from points24.tasks.errors import InputError
from points24.tasks.verdict import STRICT


class Outcome(NamedTuple):
    """What a campaign has done."""

    jobs: list[Job]
    records: list[Record]
    """Of the jobs that are done, in their order."""
    failed: dict[Job, str]
    """Job -> the error in one line."""


def conduct(config: ScoringConfig) -> Outcome:
    """Score every job that is not done yet.

    Raises:
        InputError: bad settings, another campaign at work in the same folder, or a full disk.
    """
    jobs = jobs_of(config)
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
            return _conducted(config, results, jobs)
    except OSError as e:
        if is_full(e):
            raise no_room(results.folder) from e
        raise


def _conducted(config: ScoringConfig, results: Results, jobs: Sequence[Job]) -> Outcome:
    settings = json.dumps(asdict(config), indent=2, default=str)
    write_text(results.folder / "settings.json", settings + "\n")
    done = sum(map(results.is_done, jobs))
    check_space(config, results, jobs)
    if done:
        print(f"points24: {done} of {len(jobs)} jobs are done already", file=sys.stderr)
    for attempt in range(1 + config.retries):
        todo = [job for job in jobs if not results.is_done(job)]
        if not todo:
            break
        if attempt:
            print(f"points24: trying {len(todo)} jobs again", file=sys.stderr)
        workers = Workers(config.executor, config.workers, config.executor_args)
        workers.execute(run_jobs, config, shares_of(todo, config.workers), results.folder / "slurm")
    return _gathered(config, results, jobs)


def check_space(config: ScoringConfig, results: Results, jobs: Sequence[Job]) -> None:
    """Check that the factors and the checkpoints that are kept fit on the disk, with what is there already.

    Raises:
        InputError: they do not.
    """
    pairs = {job.pair for job in jobs if job.pair and not results.is_done(job)}
    needed = sum(sum(bytes_of(pair, config.keep)) for pair in pairs) if isinstance(config, SweepConfig) else 0
    there = sum(
        f.stat().st_size for part in (results.factors, results.kept) for f in part.rglob("*.safetensors")
    )
    free = shutil.disk_usage(results.folder).free
    if needed > there + free:
        raise InputError(
            f"{results.folder}: factors and kept checkpoints need {needed / 2**20:.0f} MiB; "
            f"{(there + free) / 2**20:.0f} MiB are free on its disk; make room and give the same command "
            "again"
        )


def _gathered(config: ScoringConfig, results: Results, jobs: Sequence[Job]) -> Outcome:
    done = [job for job in jobs if results.is_done(job)]
    records = [record for job in done for record in results.records(job)]
    add_records(results.folder / "records" / "records.jsonl", records)
    failed = {job: _why(results.error(job)) for job in jobs if not results.is_done(job)}
    if isinstance(config, SweepConfig) and config.keep == "all":
        keep_jobs(config, done)
    elif isinstance(config, SweepConfig) and config.keep == "best" and not failed:
        keep_jobs(config, best_jobs(done, results))
    if not failed:
        shutil.rmtree(results.factors, ignore_errors=True)
    return Outcome(list(jobs), records, failed)


def best_jobs(jobs: Sequence[Job], results: Results) -> list[Job]:
    """For every pair, the recovered checkpoint that its report has first, by strict accuracy.

    That is the one with the highest harmonic mean of what it recovers and retains, or the highest recovered
    share without ID records. Where no share is defined (the target lost nothing, say), the accuracy on the
    first OOD task decides, without one that on the first task. Seeds are summed; of equals the first recipe
    counts.
    """
    records = {job: [r for r in results.records(job) if r.filter == STRICT] for job in jobs}
    found = recoveries(record for mine in records.values() for record in mine)
    best = []
    for pair in dict.fromkeys(job.pair for job in jobs if job.pair):
        mine = {job: records[job] for job in jobs if job.pair == pair}
        merits = _merits([each for each in found if (each.source.name, each.target.name) == pair.names])
        worth = merits if {job.model for job in mine} <= merits.keys() else _accuracies(mine)
        best.append(max(mine, key=lambda job: worth[job.model]))
    return best


def _merits(found: Sequence[Recovery]) -> dict[str, tuple[float, int]]:
    """Model -> its merit and its right OOD replies, summed; nothing where a merit is not defined."""
    merits: dict[str, tuple[float, int]] = {}
    for each in found:
        for made in each.checkpoints:
            if (merit := each.scales.merit(made.outcomes)) is None:
                return {}
            before = merits.get(made.ood.record.model, (0.0, 0))
            merits[made.ood.record.model] = before[0] + merit, before[1] + made.ood.record.k
    return merits


def _accuracies(records: Mapping[Job, Sequence[Record]]) -> dict[str, tuple[float, int]]:
    wins: Counter[str] = Counter()
    for job, strict in records.items():
        wins[job.model] += next((r for r in strict if r.rule == "ood"), strict[0]).k
    return {model: (0.0, k) for model, k in wins.items()}


def _why(path: Path) -> str:
    return (
        path.read_text("utf-8").splitlines()[0] if path.exists() else "its process ended before it was done"
    )
