"""How large a model is, exactly, without its weights: from its configuration alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from points24.tasks.errors import InputError

_PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "Qwen/Qwen2.5-0.5B-Instruct": (
        "qwen2",
        {
            "hidden_size": 896,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "intermediate_size": 4864,
            "vocab_size": 151936,
            "tie_word_embeddings": True,
        },
    ),
    "Qwen/Qwen2.5-7B-Instruct": (
        "qwen2",
        {
            "hidden_size": 3584,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "intermediate_size": 18944,
            "vocab_size": 152064,
            "tie_word_embeddings": False,
        },
    ),
    # The defaults of transformers are this model's, but for the side of an image in pixels.
    "meta-llama/Llama-3.2-11B-Vision-Instruct": ("mllama", {"vision_config": {"image_size": 560}}),
}
"""Figures of the models that the shipped configurations name, for use where no hub can be reached."""


@dataclass(frozen=True)
class ModelShape:
    """Counts of parameters, tied ones once, and the widths that activations have."""

    parameters: int
    reached: int
    """Parameters that a step on text alone changes: all, but for a model of text and images."""
    layers: int
    layer: int
    """Parameters of the largest decoder layer."""
    hidden: int
    keys: int
    """Width of the keys (and of the values) of one layer: its key-value heads times their width."""
    intermediate: int
    vocab: int
    lora_width: int
    """Parameters of a LoRA adapter of rank 1: inputs plus outputs, over the matrices that it adapts."""
    published: bool
    """Counted from the published figures instead of the model's own configuration, which was out of reach."""

    @property
    def outside_layers(self) -> int:
        """Parameters of embedding, head and last norm, of those that text reaches."""
        return self.reached - self.layers * self.layer

    def adapter(self, rank: int) -> int:
        """Parameters of a LoRA adapter."""
        return rank * self.lora_width


def auto_class(config: Any) -> Any:
    """The class that loads a model whole.

    A model of text and images must not be cut down to its text part: transformers 5 cannot load what that
    part saves, and TRL's loss does not find the part's hidden states.
    """
    return AutoModelForCausalLM if config.get_text_config() is config else AutoModelForImageTextToText


def shape_of(model: str | Path, lora_targets: str | list[str] = "all-linear") -> ModelShape:
    """Build the model without storage and count.

    Args:
        model: a model folder, or a hub id.
        lora_targets: as `RunConfig.lora_target_modules`.

    Raises:
        InputError: no configuration can be had, or not one of a decoder.
    """
    config, published = _config(model)
    with torch.device("meta"):
        try:
            built = auto_class(config).from_config(config)
        except ValueError as e:
            raise InputError(f"{model}: {' '.join(str(e).split())[:200]}") from e
    text, decoder, head = config.get_text_config(), built.get_decoder(), built.get_output_embeddings()
    # Layers that attend to an image are left out where there is none.
    skipped = {decoder.layers[i] for i in getattr(text, "cross_attention_layers", None) or ()}
    layers = [layer for layer in decoder.layers if layer not in skipped]
    reached = {id(p): p.numel() for part in (decoder, head) for p in part.parameters()}
    head_width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    kv_heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    return ModelShape(
        parameters=_count(built),
        reached=sum(reached.values()) - sum(map(_count, skipped)),
        layers=len(layers),
        layer=max(map(_count, layers)),
        hidden=text.hidden_size,
        keys=kv_heads * head_width,
        intermediate=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        vocab=text.vocab_size,
        lora_width=sum(
            module.in_features + module.out_features
            for name, module in built.named_modules()
            if isinstance(module, nn.Linear) and module is not head and _targeted(name, lora_targets)
        ),
        published=published,
    )


def _config(model: str | Path) -> tuple[Any, bool]:
    try:
        return AutoConfig.from_pretrained(model), False
    except (OSError, ValueError) as e:
        if str(model) in _PUBLISHED:
            kind, figures = _PUBLISHED[str(model)]
            return AutoConfig.for_model(kind, **figures), True
        raise InputError(f"the config.json of {model} is out of reach, here and on the hub") from e


def _targeted(name: str, targets: str | list[str]) -> bool:
    """As peft reads `target_modules`: every matrix, a regular expression, or ends of names."""
    if targets == "all-linear":
        return True
    if isinstance(targets, str):
        return re.fullmatch(targets, name) is not None
    return any(name == target or name.endswith(f".{target}") for target in targets)


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
