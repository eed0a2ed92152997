"""The identity of a checkpoint: a digest over its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from points24.harness.checkpoints.locate import ADAPTER_CONFIG, ADAPTER_WEIGHTS, base_of, is_adapter
from points24.harness.files import sha256

BESIDE = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"),
    *("tokenizer.model", "vocab.json", "merges.txt", "generation_config.json"),
)
"""Files beside weights and config.json that change a model's input or output."""
_PATTERNS = ("*.safetensors", "pytorch_model*.bin")


def weights_digest(folder: Path) -> str | None:
    """SHA-256 over the weights in a model folder; None where there are none. See `joined_digest`.

    An adapter's is over its base's digest, under the name ``base``, and its own two files.

    Raises:
        InputError: an adapter without its base.
    """
    if is_adapter(folder):
        own = {
            file: sha256(folder / file)
            for file in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
            if (folder / file).exists()
        }
        return joined_digest(own | {"base": weights_digest(base_of(folder)) or ""})
    for pattern in _PATTERNS:
        if files := list(folder.glob(pattern)):
            return joined_digest({file.name: sha256(file) for file in files})
    return None


def joined_digest(digests: Mapping[str, str]) -> str:
    """The digest of a checkpoint, from the SHA-256 of each weight file by name.

    A single file keeps its own SHA-256. Several shards have the SHA-256 over the lines
    ``<sha256>  <file name>``, in order of name: what ``sha256sum *.safetensors | sha256sum`` prints.
    """
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
