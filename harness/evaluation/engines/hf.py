"""transformers in this process: every checkpoint becomes a new model object, which takes milliseconds."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import torch
from lm_eval.api.model import LM
from lm_eval.models.huggingface import HFLM
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils import logging as transformers_logging

from points24.harness.checkpoints.pretrained import check_finite, from_config, from_pretrained
from points24.harness.evaluation.engines.engine import (
    Engine,
    EngineConfig,
    FolderWeights,
    ModelWeights,
    Tensors,
)
from points24.harness.evaluation.random_state import undisturbed_random_state
from points24.harness.records.decoding import AS_TOLD

_HF: Any = HFLM  # its registry's decorator hides the signature
BATCH_SIZE = 64


_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


class _AsTold(_HF):
    """lm-eval's, which decodes as it is told.

    lm-eval passes a task's settings to `generate`, which takes all others from ``generation_config.json``: a
    repetition penalty or beams would change greedy replies, and no record would say so. Only its tokens, such
    as the one that ends a reply, are the model's own.
    """

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval adds to the results of a run, and that this one decoded as it was told."""
        return super().get_model_info() | {AS_TOLD: True}

    def _model_generate(self, *args: Any, **settings: Any) -> torch.Tensor:
        own = self.model.generation_config
        self.model.generation_config = GenerationConfig(
            **{name: getattr(own, name, None) for name in _TOKENS}
        )
        try:
            return super()._model_generate(*args, **settings)
        finally:
            self.model.generation_config = own


class HF(Engine):
    def __init__(self, config: EngineConfig):
        super().__init__(config)
        self._args = dict(config.model_args)
        self._dtype = self._args.pop("dtype", "auto")
        self.device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.batch_size = BATCH_SIZE if config.batch_size == "auto" else config.batch_size

    def load(self, model: ModelWeights) -> LM:
        # A model object, not its path: given a path in a distributed training run, lm-eval would split the
        # deals over the processes and wait for the others.
        with undisturbed_random_state():
            loaded = build(model, self._dtype).to(self.device).eval()
        self.starts += 1
        tokenizer = from_pretrained(AutoTokenizer, model.folder)
        return wrapped(loaded, tokenizer, self.batch_size, **self._args)


def wrapped(model: Any, tokenizer: Any, batch_size: int | str, **settings: Any) -> LM:
    """A transformers model as lm-eval's."""
    logger = logging.getLogger(HFLM.__module__)
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns about model objects, which we pass deliberately
    try:
        return _AsTold(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, **settings)
    finally:
        logger.setLevel(level)


def build(model: Tensors, dtype: str) -> Any:
    """A transformers model with these weights, on the CPU.

    Args:
        model: the weights.
        dtype: as in ``--model_args``; ``auto`` is the stored dtype.
    """
    if isinstance(model, FolderWeights):
        return from_pretrained(AutoModelForCausalLM, model.folder, dtype=dtype)
    config = from_pretrained(AutoConfig, model.folder)
    with torch.device("meta"):
        kind = type(from_config(AutoModelForCausalLM, config))
    with _no_progress_bar():  # nothing is read
        loaded = kind.from_pretrained(
            None, config=config, state_dict=dict(model.tensors()), dtype=dtype, trust_remote_code=False
        )
    if (model.folder / "generation_config.json").exists():
        loaded.generation_config = GenerationConfig.from_pretrained(model.folder)
    check_finite(loaded, model.folder)
    return loaded


@contextlib.contextmanager
def _no_progress_bar() -> Iterator[None]:
    was = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was:
            transformers_logging.enable_progress_bar()
