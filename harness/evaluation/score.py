"""Score a live model by lm-eval in this process, and leave the rest of it alone: its random numbers."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from lm_eval import evaluator
from lm_eval.api.model import LM
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager
from torch.utils import collect_env

from points24.harness.evaluation.random_state import undisturbed_random_state
from points24.harness.records.ingest import About, check_against_results, records_of
from points24.harness.records.lm_eval_output import runs
from points24.harness.records.record import Record
from points24.tasks.lm_eval.files import TASK_FILES


def score(  # noqa: PLR0913 — lm-eval's settings
    lm: LM,
    tasks: Sequence[str],
    out: Path,
    about: About,
    *,
    model: str,
    model_args: Mapping[str, Any],
    batch_size: int | str,
    apply_chat_template: bool = False,
    limit: int | None = None,
    gen_kwargs: Mapping[str, Any] | None = None,
    seed: int | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> list[Record]:
    """The records that ``lm_eval`` with the same settings gives, to the digit.

    Args:
        lm: lm-eval's model, with the weights to score.
        tasks: names of points24 tasks.
        out: where lm-eval's results and samples go.
        about: what lm-eval cannot know about the checkpoint.
        model: lm-eval's name of the engine: hf, vllm, …
        model_args: what it was made with; the checkpoint is its ``pretrained``, or its ``model``.
        batch_size: deals per batch. Padding decides last digits: the same model may win other deals with
            another batch size.
        apply_chat_template: as in lm-eval.
        limit: only the first so many deals of each task.
        gen_kwargs: as in lm-eval: what replaces the task's own.
        seed: of sampling; None is lm-eval's own.
        metadata: as ``--metadata`` of lm-eval.

    Raises:
        InputError: the results cannot become records.
    """
    tracker = EvaluationTracker(output_path=str(out))
    seeds = (
        {} if seed is None else dict.fromkeys(("random_seed", "numpy_random_seed", "torch_random_seed"), seed)
    )
    with undisturbed_random_state(), torch.inference_mode(), _surroundings_told_once():
        results: Any = evaluator.simple_evaluate(
            model=lm,
            model_args=dict(model_args),
            tasks=list(tasks),
            task_manager=_task_manager(json.dumps(dict(metadata or {}), default=str)),
            batch_size=batch_size,  # pyright: ignore[reportArgumentType]
            apply_chat_template=apply_chat_template,
            limit=limit,
            gen_kwargs=dict(gen_kwargs) if gen_kwargs else None,
            evaluation_tracker=tracker,
            log_samples=True,
            **seeds,
        )
    results["config"]["model"] = model
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for task, rows in samples.items():
        tracker.save_results_samples(task_name=task, samples=rows)
    records = []
    for read in runs(out):
        run = read()
        check_against_results(run)
        records += records_of(run, about)
    return records


def asked(tasks: Sequence[str], metadata: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What each task asks: versions, digests and numbers that say which deals, in which words, how often.

    Args:
        tasks: names of points24 tasks.
        metadata: as ``--metadata`` of lm-eval.

    Raises:
        InputError: no such template, rule, target or number of attempts.
    """
    return _asked(tuple(tasks), json.dumps(dict(metadata), default=str))


@lru_cache(maxsize=8)
def _asked(tasks: tuple[str, ...], metadata: str) -> dict[str, dict[str, Any]]:
    loaded: dict[str, Any] = _task_manager(metadata).load(list(tasks))["tasks"]
    return {
        name: {key: value for key, value in task.config.metadata.items() if key not in _PLACES}
        for name, task in loaded.items()
    }


_PLACES = ("template", "config_source")
"""Paths; what lies there is known by its digest or version."""

_environment = lru_cache(maxsize=1)(collect_env.get_pretty_env_info)


@lru_cache(maxsize=1)
def _commit() -> str | None:
    """Of the repository that this runs in, if it is one; lm-eval's lets git complain where it is none."""
    with contextlib.suppress(OSError):
        run = subprocess.run(["git", "describe", "--always"], capture_output=True, text=True, check=False)
        return run.stdout.strip() or None
    return None


_TOLD_ONCE = (
    (collect_env, "get_pretty_env_info", _environment),
    (evaluator, "get_git_commit_hash", _commit),
)


@contextlib.contextmanager
def _surroundings_told_once() -> Iterator[None]:
    """Lm-eval asks anew for every result; to list what is installed takes five times a swap of weights."""
    originals = [getattr(module, name) for module, name, _ in _TOLD_ONCE]
    for module, name, once in _TOLD_ONCE:
        setattr(module, name, once)
    try:
        yield
    finally:
        for (module, name, _), original in zip(_TOLD_ONCE, originals, strict=True):
            setattr(module, name, original)


@lru_cache(maxsize=1)
def _task_manager(metadata: str) -> TaskManager:
    # Without lm-eval's own: reading the headers of 14,000 files takes longer than scoring a small model.
    return TaskManager(include_path=str(TASK_FILES), include_defaults=False, metadata=json.loads(metadata))
