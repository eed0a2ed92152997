"""The identity of a checkpoint: one digest over its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from points24.harness.files import sha256

BESIDE = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"),
    *("tokenizer.model", "vocab.json", "merges.txt", "generation_config.json"),
)
"""Files beside the weights and config.json that decide what a model reads and says."""
_PATTERNS = ("*.safetensors", "pytorch_model*.bin")


def weights_digest(folder: Path) -> str | None:
    """SHA-256 over a model folder's weights; None where it holds none.

    Of a single file it is that file's own SHA-256. Of several shards it is the SHA-256 over the lines
    ``<sha256>  <file name>``, in order of name: what ``sha256sum *.safetensors | sha256sum`` prints.
    """
    for pattern in _PATTERNS:
        files = sorted(folder.glob(pattern))
        if files:
            return joined_digest({file.name: sha256(file) for file in files})
    return None


def joined_digest(digests: Mapping[str, str]) -> str:
    """The digest of one or more weight files, from the SHA-256 of each by its name."""
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
