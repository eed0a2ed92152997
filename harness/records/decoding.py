"""How a run decoded: what its task asked for, and what a model's own settings added without a word."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from points24.harness.records.lm_eval_output import Run
from points24.tasks.protocols.protocol import DEFAULT

AS_TOLD = "decoded_as_told"
"""A key of a run's configuration: the model's generation_config.json added nothing."""
GREEDY = "greedy"

_FILE = "generation_config.json"
_TRANSFORMERS = ("hf", "hf-auto", "huggingface")
"""lm-eval's names of the engine that reads that file at every call."""
_NO_DECODING = frozenset(
    {
        *("transformers_version", "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"),
        *("max_length", "max_new_tokens", "use_cache", "cache_implementation", "do_sample", "temperature"),
        *("output_attentions", "output_hidden_states", "output_scores", "return_dict_in_generate"),
        *("num_return_sequences", "_from_model_config"),
    }
)
"""Keys that are the model's tokens, or that lm-eval sets, or that choose no token."""
_SAMPLING = frozenset({"top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"})
"""Keys without effect on greedy decoding."""
_LENGTHS = frozenset({"until", "max_gen_toks", "seed"})


def decoding_of(run: Run, pretrained: str) -> dict[str, Any]:
    """A run's generation settings, with the seed if it samples.

    Args:
        run: what lm-eval wrote.
        pretrained: the model's folder or hub id.
    """
    told, settings = run.config["generation_kwargs"], run.results["config"]
    if settings["model"] in _TRANSFORMERS and not settings.get(AS_TOLD):
        told = _added(pretrained, told) | told
    if told.get("do_sample") and "seed" not in told and "torch_seed" in settings:
        return told | {"seed": settings["torch_seed"]}
    return told


def _added(pretrained: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """What the model's generation_config.json, if it is here, adds to a task's settings."""
    path = Path(pretrained).expanduser() / _FILE
    if not path.is_file():
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            cached = try_to_load_from_cache(pretrained, _FILE)
        except HFValidationError:  # a path
            return {}
        if not isinstance(cached, str):
            return {}
        path = Path(cached)
    try:
        own = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    unread = _NO_DECODING if told.get("do_sample") else _NO_DECODING | _SAMPLING
    without_effect = (None, 0, 1)  # False and 1.0, too
    return {
        key: value
        for key, value in (own.items() if isinstance(own, dict) else ())
        if key not in unread and value not in without_effect
    }


def decoding_in_words(protocol: str, decoding: Mapping[str, Any] | None) -> str:
    """What two records of one protocol must share of their decoding to stand in one table.

    Lengths and seeds are left out. A protocol of another name than points24's says itself how to decode.
    """
    if protocol != DEFAULT or decoding is None:
        return GREEDY
    temperature = decoding.get("temperature")
    samples = decoding.get("do_sample", bool(temperature))
    unsaid = {*_LENGTHS, "do_sample"} if samples else {*_LENGTHS, "do_sample", "temperature"}
    words = [f"{key}={decoding[key]}" for key in sorted(decoding.keys() - unsaid)]
    return ", ".join(["sampled" if samples else GREEDY, *words])
