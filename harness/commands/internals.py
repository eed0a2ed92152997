"""Private names of other libraries that this project calls or overrides.

Any release may remove them. A test calls `gone`, which looks for them in the installed packages.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_GRPO = "trl.trainer.grpo_trainer:GRPOTrainer"

INTERNALS = (
    "lm_eval.models.vllm_causallms:VLLM._model_generate(requests, generate, sampling_params)",
    "transformers:Trainer._save(output_dir, state_dict)",
    "transformers:Trainer._load_from_checkpoint(resume_from_checkpoint, model)",
    "transformers:PreTrainedModel._keys_to_ignore_on_save",
    f"{_GRPO}._tag_names",
    f"{_GRPO}._name",
    f"{_GRPO}._metrics",
    f"{_GRPO}._tokenizer",
    f"{_GRPO}._tokenize_prompts(prompts)",
    f"{_GRPO}._generate_single_turn(prompt_ids, images, multimodal_fields, num_generations)",
    f"{_GRPO}._generate_and_score_completions(inputs)",
    f"{_GRPO}._get_per_token_logps_and_entropies(model, input_ids, attention_mask, logits_to_keep)",
    f"{_GRPO}._compute_loss(model, inputs)",
    "trl.generation.vllm_generation:VLLMGeneration._iter_named_params()",
    "vllm.v1.engine.llm_engine:LLMEngine.engine_core",
    "vllm.v1.engine.llm_engine:LLMEngine.model_config",
    "vllm.v1.engine.core_client:EngineCoreClient.shutdown",
    "vllm.v1.worker.gpu_worker:Worker.reload_weights",
    "vllm.model_executor.layers.vocab_parallel_embedding:"
    "UnquantizedEmbeddingMethod.process_weights_after_loading(layer)",
)
"""``module:Class.name``; for a method, with the first parameters that we pass or override."""


def gone(names: Iterable[str] = INTERNALS) -> list[str]:
    """One line for each name of an installed package that is missing or takes other parameters."""
    return [line for name in names if (line := _gone(name))]


def _gone(name: str) -> str | None:
    package = name.partition(".")[0].partition(":")[0]
    try:
        installed = f"{package} {version(package)}"
    except PackageNotFoundError:
        return None
    path, _, parameters = name.partition("(")
    owner, _, attribute = path.rpartition(".")
    try:
        cls = pkgutil.resolve_name(owner)
    except (ImportError, AttributeError):
        return f"{path}: {installed} has no {owner}"
    found: Any = getattr(cls, attribute, None)
    if found is None and attribute not in vars(cls) and not _sets(cls, attribute):
        return f"{path}: {installed} has no such attribute"
    if not parameters or found is None:
        return None
    expected = [word for word in parameters.rstrip(")").split(", ") if word]
    there = [parameter for parameter in inspect.signature(found).parameters if parameter != "self"]
    if there[: len(expected)] != expected:
        return f"{path}: expected parameters {', '.join(expected)}, found {', '.join(there)} in {installed}"
    return None


def _sets(cls: type, attribute: str) -> bool:
    """Whether a method of the class, or of one of its bases, assigns the attribute of ``self``."""
    assignment = re.compile(rf"\bself\.{attribute}(:[^=\n]+)? = ")
    return any(assignment.search(inspect.getsource(base)) for base in cls.__mro__[:-1])
