"""Score a model folder by lm-eval inside this process, and nothing else in it: not its random numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm_eval.evaluator import simple_evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer

from points24.harness.doctor import TASK_FILES
from points24.harness.ingest import About, check_against_results, records_of
from points24.harness.lm_eval_output import runs
from points24.harness.records import Record

_HF: Any = HFLM  # its registry's decorator hides the signature


def score(  # noqa: PLR0913 — lm-eval's settings
    model: str | Path,
    tasks: Sequence[str],
    out: Path,
    about: About,
    *,
    batch_size: int,
    device: str | torch.device,
    dtype: str = "auto",
    apply_chat_template: bool = False,
    limit: int | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> list[Record]:
    """The records that ``lm_eval --model hf`` with the same settings gives, to the digit.

    The model is loaded for this from its folder, so that what is scored is what anybody else will load. One
    process scores; in a distributed run the others have to wait for it.

    Args:
        model: a model folder, or a hub id.
        tasks: names of points24 tasks.
        out: where lm-eval's results and samples go.
        about: what lm-eval cannot know about the checkpoint.
        batch_size: deals per batch. Padding decides last digits: the same model may win other deals with
            another batch size.
        device: where the model runs.
        dtype: as in ``--model_args``: ``auto`` is the one it is stored in.
        apply_chat_template: as in lm-eval.
        limit: only the first so many deals of each task.
        metadata: as ``--metadata`` of lm-eval.

    Raises:
        InputError: the results cannot become records.
    """
    with undisturbed_random_state(), torch.inference_mode():
        # A model object, not its path: given a path, lm-eval would split the deals over the processes of the
        # training run that it finds itself in, and wait for the others.
        loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=dtype)
        lm = _HF(
            pretrained=loaded.to(device).eval(),
            tokenizer=AutoTokenizer.from_pretrained(model),
            batch_size=batch_size,
        )
        tracker = EvaluationTracker(output_path=str(out))
        results: Any = simple_evaluate(
            model=lm,
            model_args={"pretrained": str(model), "dtype": dtype},
            tasks=list(tasks),
            task_manager=_task_manager(),
            batch_size=batch_size,
            apply_chat_template=apply_chat_template,
            limit=limit,
            metadata=dict(metadata or {}),
            evaluation_tracker=tracker,
            log_samples=True,
            verbosity="ERROR",
        )
    results["config"]["model"] = "hf"
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


@contextmanager
def undisturbed_random_state() -> Iterator[None]:
    """Give every global random generator back as it was; lm-eval seeds them all at each evaluation."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)


@lru_cache(maxsize=1)
def _task_manager() -> TaskManager:
    # Without lm-eval's own: reading the headers of 14,000 files takes longer than scoring a small model.
    return TaskManager(include_path=str(TASK_FILES), include_defaults=False)
