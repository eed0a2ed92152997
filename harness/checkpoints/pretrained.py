"""What transformers loads from a model's folder, or from the hub.

Code that comes with a model never runs, and nobody is asked whether it may: where `trust_remote_code` is not
given, transformers asks on standard input, and ``yes | points24 eval FOLDER`` would say yes.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from points24.harness.checkpoints.folder import inspect_folder
from points24.tasks.errors import InputError

_REFUSALS = (
    *(OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, SafetensorError),
    *(StrictDataclassError, UnpicklingError),
)
"""What the libraries raise for damaged or unknown models."""
_SHOWN = 300


def from_pretrained(kind: Any, name: str | Path, **settings: Any) -> Any:
    """`kind.from_pretrained(name, **settings)`, such as a model, a tokenizer or a configuration.

    Raises:
        InputError: it cannot be loaded, it needs code of its own, its folder is damaged, or a model lacks
            weights (which would be drawn at random) or has some that are no numbers.
    """
    if isinstance(name, Path):
        inspect_folder(name)
    is_model = hasattr(kind, "from_config")
    if is_model:
        settings["output_loading_info"] = True
    try:
        loaded = kind.from_pretrained(name, trust_remote_code=False, **settings)
    except InputError:
        raise
    except _REFUSALS as e:
        raise InputError(f"{name}: cannot be loaded: {' '.join(str(e).split())[:_SHOWN]}") from e
    if not is_model:
        return loaded
    model, info = loaded
    if missing := sorted(info["missing_keys"] & {each for each, _ in model.named_parameters()}):
        raise InputError(f"{name}: {len(missing)} weights are missing, such as {missing[0]}")
    check_finite(model, name)
    return model


def check_finite(model: torch.nn.Module, name: str | Path) -> None:
    """Raises: InputError: a weight is NaN or infinite; such a model scores 0 without a word."""
    for each, weight in model.named_parameters():
        if not weight.is_floating_point() or not weight.numel() or weight.is_meta:
            continue
        # Of the extremes, since a mask of every weight would take memory. NaN passes through both.
        if not all(end.isfinite() for end in weight.detach().aminmax()):
            raise InputError(f"{name}: {each} holds NaN or an infinity")


def from_config(kind: Any, config: Any) -> Any:
    """`kind.from_config(config)`: a model with weights that mean nothing."""
    return kind.from_config(config, trust_remote_code=False)
