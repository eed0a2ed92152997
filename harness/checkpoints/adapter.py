"""A LoRA adapter (peft's folder) as a checkpoint: its base with the adapter merged in, tensor by tensor.

The scale is alpha / r, or alpha / sqrt(r) with rsLoRA (2312.03732). Ranks and alphas by pattern, DoRA,
embeddings, biases and modules saved whole are understood; whatever else peft has is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

from torch import Tensor

from points24.harness.checkpoints.folder import StoredTensor, read_header
from points24.harness.checkpoints.locate import ADAPTER_CONFIG as CONFIG
from points24.harness.checkpoints.locate import ADAPTER_WEIGHTS as WEIGHTS
from points24.harness.checkpoints.locate import read_adapter_config
from points24.harness.checkpoints.lora import Update
from points24.harness.checkpoints.read import FLOATS, Checkpoint, plain_name
from points24.tasks.errors import InputError

_PREFIX = "base_model.model."
_REFUSED = (
    *("lora_bias", "layer_replication", "target_parameters", "trainable_token_indices", "use_qalora"),
    *("use_bdlora", "alora_invocation_tokens", "megatron_config", "arrow_config", "kasa_config"),
    *("velora_config", "monteclora_config", "corda_config", "lora_ga_config", "loftq_config"),
)
"""Settings that change what the adapter means in ways that are not followed here."""
_INITIALISATIONS = (None, True, False, "gaussian", "eva", "orthogonal")
"""Those that leave the base as it is; PiSSA and its like subtract from it."""


def merged_with(base: Checkpoint, folder: Path) -> Checkpoint:
    """The base with an adapter merged in.

    Raises:
        InputError: half an adapter, one of a kind that is not known here, or one of another base.
    """
    config = _checked(folder)
    stored = Checkpoint(folder, {}, _header(folder), (WEIGHTS,), {})
    names = {plain_name(name): name for name in base.tensors}
    updates: dict[str, Update] = {}
    whole: dict[str, Tensor] = {}
    for key in stored.tensors:
        path = key.removeprefix(_PREFIX).replace(".base_layer.", ".")
        module, _, rest = path.partition(".lora_")
        name = names.get(plain_name(f"{module}.weight" if rest else path))
        if name is None:
            raise InputError(
                f"{folder}: {key} fits no tensor of {base.folder}: made for another base, or unknown"
            )
        if not rest:
            found = whole[name] = stored.read(key).to(base.read(name).dtype)
            expected: tuple[int, ...] = tuple(found.shape)
        elif rest in ("A.weight", "embedding_A"):
            updates[name] = _update(stored, key, module, config)
            expected = updates[name].shape
        elif re.fullmatch(r"(embedding_)?[AB](\.weight)?|magnitude_vector(\.weight)?", rest):
            continue
        else:
            raise InputError(f"{folder}: {key} is not supported; expected lora_A, lora_B and their like")
        if expected != base.tensors[name].shape:
            raise InputError(
                f"{folder}: trained on another base than {base.folder}: {name} is {list(expected)} in the "
                f"adapter, {list(base.tensors[name].shape)} in the base"
            )
    if not updates and not whole:
        raise InputError(f"{folder}: {WEIGHTS} holds nothing")
    return replace(base, adapter=folder, updates=updates, replaced=whole)


def _update(stored: Checkpoint, key: str, module: str, config: Mapping[str, Any]) -> Update:
    is_embedding = key.endswith("lora_embedding_A")
    other = key.replace("lora_embedding_A", "lora_embedding_B").replace("lora_A", "lora_B")
    if other not in stored.tensors:
        raise InputError(f"{stored.folder}: {key} without {other}")
    a, b = stored.read(key), stored.read(other)
    rank = a.shape[0]
    if a.ndim != 2 or b.ndim != 2 or b.shape[1] != rank:
        raise InputError(
            f"{stored.folder}: {key} {list(a.shape)} does not go with {list(b.shape)}; expected 2-D"
        )
    patterns: Mapping[str, Any] = config.get("alpha_pattern") or {}
    alpha = next(
        (v for p, v in patterns.items() if re.match(rf"(.*\.)?({p})$", module)), config["lora_alpha"]
    )
    scale = alpha / (sqrt(rank) if config.get("use_rslora") else rank)
    magnitude = None
    if config.get("use_dora"):
        start = f"{_PREFIX}{module}.lora_magnitude_vector"
        found = next((k for k in (start, f"{start}.weight") if k in stored.tensors), None)
        if found is None or is_embedding:
            raise InputError(f"{stored.folder}: use_dora, but {start} is missing or of an embedding")
        magnitude = stored.read(found).flatten()
    return Update(a, b, scale, is_embedding or bool(config.get("fan_in_fan_out")), magnitude)


def _checked(folder: Path) -> Mapping[str, Any]:
    config = read_adapter_config(folder)
    if (kind := config.get("peft_type")) != "LORA":
        raise InputError(f"{folder}: peft_type {kind!r}; expected LORA")
    for name in _REFUSED:
        if config.get(name):
            raise InputError(f"{folder}: {CONFIG} has {name}, which is not supported")
    if (start := config.get("init_lora_weights")) not in _INITIALISATIONS:
        raise InputError(
            f"{folder}: init_lora_weights {start!r} changes the base; let peft convert it to plain LoRA"
        )
    if not isinstance(config.get("lora_alpha"), int | float):
        raise InputError(f"{folder}: {CONFIG}: lora_alpha is {config.get('lora_alpha')!r}; expected a number")
    return config


def _header(folder: Path) -> Mapping[str, StoredTensor]:
    if not (folder / WEIGHTS).exists():
        pickled = (
            "adapter_model.bin (pickled)" if (folder / "adapter_model.bin").exists() else f"only {CONFIG}"
        )
        raise InputError(f"{folder}: half an adapter: expected {WEIGHTS}, found {pickled}")
    header = read_header(folder / WEIGHTS)
    for name, stored in header.items():
        if stored.dtype not in FLOATS:
            raise InputError(f"{folder}: {name} is {stored.dtype}; expected {', '.join(FLOATS)}")
    return header
