"""How a model decodes if nobody says how: by the generation settings that it comes with.

lm-eval decodes greedily unless told otherwise, on every engine; transformers' `generate` without arguments
reads the model's ``generation_config.json``. To do that here, a task reads those settings from its model and
passes them on as explicit ones, so that the results say what they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from points24.tasks.errors import InputError
from points24.tasks.protocols.protocol import Protocol

DECODING = ("greedy", "model")
_SAMPLING = ("do_sample", "temperature", "top_p", "top_k", "min_p", "repetition_penalty")
_GREEDY = {"do_sample": False, "temperature": 0.0}
_DEFAULTS = {"temperature": 1.0, "top_p": 1.0, "top_k": 50}
"""What transformers fills in for a model that samples."""


def decoding_of(metadata: Mapping[str, Any], protocol: Protocol) -> str:
    """One of `DECODING`: what the metadata ask for, else the protocol's.

    Raises:
        InputError: the metadata ask for anything else.
    """
    found = metadata.get("decoding", protocol.decoding)
    if found not in DECODING:
        raise InputError(f"decoding: expected {' or '.join(DECODING)}, found {found!r}")
    return found


def without_sampling(settings: Mapping[str, Any]) -> dict[str, Any]:
    """lm-eval's generation settings without those that `model_decoding` adds."""
    return {key: value for key, value in settings.items() if key not in _SAMPLING}


def model_decoding(lm: object | None, settings: Mapping[str, Any], task: str | None) -> dict[str, Any]:
    """What to add to a task's generation settings, so that the model decodes as it would by itself.

    Args:
        lm: the lm-eval model; None if the task does not see it.
        settings: the task's, with those of ``--gen_kwargs``. If they say how to decode, nothing is added.
        task: its name, for the error.

    Raises:
        InputError: the model's settings cannot be read here.
    """
    if any(key in settings for key in _SAMPLING):
        return {}
    found = _generation_config(lm)
    if found is None:
        where = "without --apply_chat_template" if lm is None else f"from {type(lm).__name__}"
        raise InputError(
            f"{task}: the model's own decoding cannot be read {where}; "
            "say how to decode: --metadata decoding=greedy, or --gen_kwargs do_sample=true,temperature=…"
        )
    penalty = found.get("repetition_penalty")
    others = {} if penalty in (None, 1.0) else {"repetition_penalty": penalty}
    if not found.get("do_sample"):
        return _GREEDY | others
    chosen = {key: found.get(key) for key in _DEFAULTS}
    return (
        {"do_sample": True} | {key: _DEFAULTS[key] if v is None else v for key, v in chosen.items()} | others
    )


def _generation_config(lm: Any) -> dict[str, Any] | None:
    """The settings that transformers or vLLM read with the model; None for other engines."""
    model = getattr(lm, "model", None)
    if (config := getattr(model, "generation_config", None)) is not None:
        return config.to_dict()
    if (engine := getattr(model, "llm_engine", None)) is not None:
        return engine.model_config.try_get_generation_config()
    return None
