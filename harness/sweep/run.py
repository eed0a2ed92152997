"""Job after job in one process, with one engine. A job is done once its folder exists."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tqdm import tqdm

from points24.harness.analysis.formats import percent
from points24.harness.evaluation.engines import SERVERS, open_engine
from points24.harness.evaluation.engines.engine import FolderWeights, ModelWeights, ServedWeights
from points24.harness.evaluation.score import score
from points24.harness.files import discard_partial, json_lines, replacing_folder, write_json, write_text
from points24.harness.records.ingest import About
from points24.harness.records.provenance import command_line, versions
from points24.harness.records.record import Record, record_of
from points24.harness.recovery.arguments import device_of
from points24.harness.recovery.recover import CheckedPair
from points24.harness.recovery.recovered import RecoveredWeights
from points24.harness.recovery.spectral.factor_store import FactorStore
from points24.harness.sweep.config import ScoringConfig, SweepConfig
from points24.harness.sweep.jobs import Job, Pair
from points24.tasks.errors import InputError
from points24.tasks.verdict import STRICT

_ROOM = 2**26
"""Bytes that must be free before a job: its samples take a few MiB."""


class Results:
    """What a campaign leaves on disk.

    settings.json     the configuration
    jobs/<key>/       a job that is done: records.jsonl, job.json (model, seed, seconds, report of the
                      recovery), lm_eval/ with lm-eval's output
    jobs/<key>.error  the last error of a job that failed
    factors/          the factors of all matrices, until every job is done
    kept/<name>/      recovered checkpoints that are kept
    records/          the records of all jobs
    generated/        tables and report, by `points24 leaderboard build`
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.factors = folder / "factors"
        self.kept = folder / "kept"
        self._jobs = folder / "jobs"

    def job(self, job: Job) -> Path:
        return self._jobs / job.key[:16]

    def is_done(self, job: Job) -> bool:
        return self.job(job).is_dir()

    def error(self, job: Job) -> Path:
        return self.job(job).with_suffix(".error")

    def records(self, job: Job) -> list[Record]:
        """Raises: InputError: the file is damaged."""
        return [record_of(value) for _, value in json_lines(self.job(job) / "records.jsonl")]


def run_jobs(config: ScoringConfig, jobs: Sequence[Job]) -> None:
    """Score the jobs that are not done. A job that fails leaves its error, and the others go on.

    Raises:
        InputError: the disk is full, so that no other job could succeed either.
    """
    results = Results(Path(config.output_dir))
    todo = [job for job in jobs if not results.is_done(job)]
    worker = _Worker(config, results)
    try:
        for job in tqdm(todo, "jobs", unit="job", disable=not todo):
            if not has_room(results.folder):
                raise no_room(results.folder)
            try:
                shown = worker.run(job)
            except Exception as e:
                if is_full(e) or not has_room(results.folder):
                    raise no_room(results.folder) from e
                worker.close()  # the failed job may have left the engine in any state
                why = _one_line(e)
                write_text(results.error(job), f"{why}\n\n{''.join(traceback.format_exception(e))}")
                shown = f"failed: {why}"
            else:
                results.error(job).unlink(missing_ok=True)
            tqdm.write(f"{job.model}{'' if job.seed is None else f', seed {job.seed}'}: {shown}", sys.stderr)
    finally:
        worker.close()


def keep_jobs(config: SweepConfig, jobs: Sequence[Job]) -> None:
    """Write recovered checkpoints, unless they exist."""
    worker = _Worker(config, Results(Path(config.output_dir)))
    for job in jobs:
        worker.keep(job)


class _Worker:
    """An engine, and what the jobs of the current pair share."""

    def __init__(self, config: ScoringConfig, results: Results):
        self.config, self.results = config, results
        self.engine = open_engine(config)
        self._factors = FactorStore(results.factors)
        self._pair: tuple[Pair, CheckedPair] | None = None
        self._model: tuple[Any, ModelWeights] | None = None

    def close(self) -> None:
        self.engine.close()

    def run(self, job: Job) -> str:
        """Score a job and make its folder; returns its accuracies in words."""
        with replacing_folder(self.results.job(job)) as folder:
            records = self._scored(job, folder)
        strict = (r for r in records if r.filter == STRICT)
        return ", ".join(f"{r.task} {percent(r.accuracy)} %" for r in strict)

    def _scored(self, job: Job, folder: Path) -> list[Record]:
        config, began = self.config, time.perf_counter()
        model = self._weights(job)
        lm = self.engine.load(model)
        digest = model.digest
        loaded = time.perf_counter()
        # vLLM samples by each request's seed, transformers by torch's.
        seed = {"seed": job.seed} if job.seed is not None and config.engine != "hf" else {}
        records = score(
            lm,
            config.tasks,
            folder / "lm_eval",
            _about(job, digest),
            model=config.engine,
            model_args={"model" if config.engine in SERVERS else "pretrained": str(job.folder or job.model)}
            | config.model_args,
            batch_size=config.batch_size,
            apply_chat_template=config.apply_chat_template,
            limit=config.limit,
            gen_kwargs=config.gen_kwargs | seed,
            seed=job.seed,
            metadata=config.metadata,
        )
        scored = time.perf_counter()
        report = model.report if isinstance(model, RecoveredWeights) else {}
        (folder / "records.jsonl").write_text("".join(f"{r.line()}\n" for r in records), "utf-8")
        seconds = {"load": loaded - began, "score": scored - loaded, "record": time.perf_counter() - scored}
        about = {"model": job.model, "seed": job.seed, "seconds": seconds, "recovery": report}
        write_json(folder / "job.json", about, indent=1)
        return records

    def keep(self, job: Job) -> None:
        """Write a recovered checkpoint, unless it exists."""
        out, model = self.results.kept / job.model, self._weights(job)
        if job.pair is None or not isinstance(model, RecoveredWeights) or out.exists():
            return
        discard_partial(out)
        record = {
            **dict(zip(("source", "target", "base"), (*job.pair.given, None), strict=False)),
            "others": [given for _, given in job.pair.others],
            "command": command_line(),
            "versions": versions(),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        model.write(out, record)

    def _weights(self, job: Job) -> ModelWeights:
        """The model of a job: the same object while the model stays the same, so that it is loaded once."""
        what = (job.folder, job.pair, job.recipe)
        if self._model is None or self._model[0] != what:
            self._model = what, self._new_weights(job)
        return self._model[1]

    def _new_weights(self, job: Job) -> ModelWeights:
        if job.folder is not None:
            is_served = self.config.engine in SERVERS
            return ServedWeights(str(job.folder)) if is_served else FolderWeights(job.folder)
        assert job.pair is not None
        assert job.recipe is not None
        assert isinstance(self.config, SweepConfig)
        if self._pair is None or self._pair[0] != job.pair:
            self._pair = job.pair, job.pair.open()
        device = device_of(self.config.recover_device)
        return RecoveredWeights(self._pair[1], job.recipe, device, self._factors)


def _about(job: Job, digest: str | None) -> About:
    if job.made is not None:
        made = json.loads(job.made)
        return About(job.model, made["target"], "recovered", None, digest, made)
    if job.pair is None or job.recipe is None:
        return About(job.model, weights_sha256=digest)
    return About(job.model, job.pair.names[1], "recovered", None, digest, job.pair.recorded(job.recipe))


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"[:500]


def has_room(folder: Path) -> bool:
    return shutil.disk_usage(folder).free >= _ROOM


def is_full(error: BaseException) -> bool:
    """Whether the disk was full. The text is searched: safetensors and our own errors wrap the system's."""
    return os.strerror(errno.ENOSPC) in str(error)


def no_room(folder: Path) -> InputError:
    free = shutil.disk_usage(folder).free / 2**20
    return InputError(
        f"{folder}: {free:.0f} MiB are free on its disk; make room and give the same command again: "
        "results are kept"
    )
