"""Score a live model with lm-eval in this process, without disturbing the process's random numbers."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm_eval.api.model import LM
from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED
from lm_eval.evaluator import evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.loggers.utils import add_env_info, add_tokenizer_info
from lm_eval.tasks import TaskManager

from points24.harness.evaluation.bars import few_bars
from points24.harness.evaluation.random_state import undisturbed_random_state
from points24.harness.records.ingest import About, check_against_results, records_of
from points24.harness.records.lm_eval_output import runs
from points24.harness.records.record import Record
from points24.tasks.lm_eval.files import TASK_FILES

_PLACES = ("template", "config_source", "protocol_folder")
"""Metadata that are paths; a digest or a version identifies the content."""


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
    """The records of exactly what ``lm_eval`` with the same settings computes.

    Args:
        lm: lm-eval's model, with the weights to score.
        tasks: names of points24 tasks.
        out: where lm-eval writes results and samples.
        about: what lm-eval does not know about the checkpoint.
        model: lm-eval's name of the engine: hf, vllm, …
        model_args: what `lm` was made with; the checkpoint is its ``pretrained`` or its ``model``.
        batch_size: deals per batch. Through padding it changes last digits, and so may change replies.
        apply_chat_template: as in lm-eval.
        limit: play only this many deals of each task.
        gen_kwargs: replace the task's own, as in lm-eval.
        seed: for sampling; None is lm-eval's own.
        metadata: as lm-eval's ``--metadata``.

    Raises:
        InputError: the results cannot become records.
    """
    tracker = EvaluationTracker(output_path=str(out))
    settings = {
        "model": model,
        "model_args": dict(model_args),
        "batch_size": batch_size,
        "limit": limit,
        "gen_kwargs": dict(gen_kwargs) if gen_kwargs else None,
        **_seeds(seed),
    }
    with undisturbed_random_state(), torch.inference_mode():
        loaded = _seeded_tasks(tasks, metadata or {}, settings)
        results = _evaluated(lm, loaded, settings, apply_chat_template, tracker)
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for task, rows in samples.items():
        tracker.save_results_samples(task_name=task, samples=rows)
    records = []
    for read in runs(out):  # from the files, so that ingesting them gives the same records
        run = read()
        check_against_results(run)
        records += records_of(run, about)
    return records


def _seeded_tasks(tasks: Sequence[str], metadata: Mapping[str, Any], settings: dict[str, Any]) -> Any:
    """Set every seed as lm-eval does, and load the tasks with these settings."""
    random.seed(settings["random_seed"])
    np.random.seed(settings["numpy_seed"])
    torch.manual_seed(settings["torch_seed"])
    loaded = _loaded(tasks, metadata)
    for task in loaded["tasks"].values():
        if settings["gen_kwargs"]:
            task.set_config("generation_kwargs", dict(settings["gen_kwargs"]), update=True)
        if task.get_config("num_fewshot") is None:
            task.set_config("num_fewshot", 0)
        task.set_fewshot_seed(seed=settings["fewshot_seed"])
    return loaded


def _evaluated(
    lm: LM, loaded: Any, settings: dict[str, Any], apply_chat_template: bool, tracker: EvaluationTracker
) -> dict[str, Any]:
    """What `lm_eval.simple_evaluate` returns; see `lm_eval.result_schema`.

    We repeat its steps because it lists the whole environment at every call, which takes five times as long
    as a swap of weights, and because outside a repository its call of git prints an error.
    """
    started = time.time()
    tracker.general_config_tracker.log_experiment_args(
        model_source="CUSTOM",
        model_args=settings["model_args"],
        system_instruction=None,
        chat_template=lm.chat_template(apply_chat_template) if apply_chat_template else None,
        fewshot_as_multiturn=True,
    )
    run: Any = evaluate  # its decorator hides the signature
    with few_bars():
        results = run(
            lm,
            loaded,
            limit=settings["limit"],
            log_samples=True,
            apply_chat_template=apply_chat_template,
            fewshot_as_multiturn=True,
        )
    described = getattr(lm, "get_model_info", dict)()  # not every model has it
    results |= {"config": settings | described, "date": started, **_environment()}
    add_tokenizer_info(results, lm)
    return results


def _seeds(seed: int | None) -> dict[str, int]:
    """lm-eval's seeds by their names in its results; None gives its defaults."""
    of_random, others = (DEFAULT_RANDOM_SEED, DEFAULT_OTHER_SEED) if seed is None else (seed, seed)
    return {
        "random_seed": of_random,
        "numpy_seed": others,
        "torch_seed": others,
        "fewshot_seed": DEFAULT_OTHER_SEED,
    }


def asked(tasks: Sequence[str], metadata: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What identifies the questions of each task: hand set, rule, digests, attempts and version.

    Args:
        tasks: names of points24 tasks.
        metadata: as lm-eval's ``--metadata``.

    Raises:
        InputError: no such template, rule, target or number of attempts.
    """
    return {
        name: {key: value for key, value in task.config.metadata.items() if key not in _PLACES}
        for name, task in _loaded(tasks, metadata)["tasks"].items()
    }


@lru_cache(maxsize=1)
def _environment() -> dict[str, Any]:
    """What lm-eval records about packages, machine and repository; collected once per process."""
    found: dict[str, Any] = {"git_hash": _commit()}
    add_env_info(found)
    return found


def _commit() -> str | None:
    """The commit of the repository around the working directory, if there is one."""
    with contextlib.suppress(OSError):
        run = subprocess.run(["git", "describe", "--always"], capture_output=True, text=True, check=False)
        return run.stdout.strip() or None
    return None


def _loaded(tasks: Sequence[str], metadata: Mapping[str, Any]) -> Any:
    # Without lm-eval's own tasks: reading 14,000 headers takes longer than scoring a small model.
    manager = TaskManager(include_path=str(TASK_FILES), include_defaults=False, metadata=dict(metadata))
    return manager.load(list(tasks))
