"""What transformers loads from a model's folder, or from the hub.

Code that comes with a model never runs, and nobody is asked whether it may: where `trust_remote_code` is not
given, transformers asks on standard input, and ``yes | points24 eval FOLDER`` would say yes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from points24.harness.checkpoints.read import check_folder
from points24.tasks.errors import InputError

_REFUSALS = (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, SafetensorError)
"""What the libraries raise for damaged or unknown models."""
_SHOWN = 300


def from_pretrained(kind: Any, name: str | Path, **settings: Any) -> Any:
    """`kind.from_pretrained(name, **settings)`, such as a model, a tokenizer or a configuration.

    Raises:
        InputError: it cannot be loaded, it needs code of its own, or its folder is damaged.
    """
    if isinstance(name, Path):
        check_folder(name)
    try:
        return kind.from_pretrained(name, trust_remote_code=False, **settings)
    except InputError:
        raise
    except _REFUSALS as e:
        raise InputError(f"{name}: cannot be loaded: {' '.join(str(e).split())[:_SHOWN]}") from e


def from_config(kind: Any, config: Any) -> Any:
    """`kind.from_config(config)`: a model with weights that mean nothing."""
    return kind.from_config(config, trust_remote_code=False)
