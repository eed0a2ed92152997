"""Load a run's parent: its model, whole, and its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PretrainedConfig,
)

from points24.harness.checkpoints.pretrained import from_pretrained
from points24.tasks.errors import InputError
from points24.tasks.time_limit import check_chat_template


def auto_class(config: PretrainedConfig) -> Any:
    """The class that loads a model whole.

    A model of text and images must not be reduced to its text part: transformers 5 cannot load what the text
    part saves, and TRL's loss does not find its hidden states.
    """
    return AutoModelForCausalLM if config.get_text_config() is config else AutoModelForImageTextToText


def load_model(config: Any) -> Any:
    """The parent, in `config.dtype`. A model of text and images is loaded whole.

    Raises:
        InputError: it cannot be loaded.
    """
    kind = auto_class(from_pretrained(AutoConfig, config.parent))
    settings = {"dtype": config.dtype, "attn_implementation": config.attn_implementation}
    return from_pretrained(kind, config.parent, **settings)


def load_tokenizer(parent: str | Path, *, chat: bool) -> Any:
    """The parent's tokenizer.

    Raises:
        InputError: the parent has none, or one without end-of-sequence token or the chat template.
    """
    if isinstance(parent, Path) and not any(parent.glob("token*")):
        raise InputError(f"{parent} holds no tokenizer; copy that of the model it was made from into it")
    tokenizer = from_pretrained(AutoTokenizer, parent)
    if tokenizer.eos_token_id is None:
        raise InputError(f"the tokenizer of {parent} has no end-of-sequence token")
    if chat and not tokenizer.chat_template:
        raise InputError(f"apply_chat_template: the tokenizer of {parent} has no chat template")
    if chat:
        check_chat_template(tokenizer.apply_chat_template)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
