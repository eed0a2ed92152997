"""The identity of a checkpoint: one digest over its weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

from points24.harness.files import sha256

_PATTERNS = ("*.safetensors", "pytorch_model*.bin")


def weights_digest(folder: Path) -> str | None:
    """SHA-256 over a model folder's weights; None where it holds none.

    Of a single file it is that file's own SHA-256. Of several shards it is the SHA-256 over the lines
    ``<sha256>  <file name>``, in order of name: what ``sha256sum *.safetensors | sha256sum`` prints.
    """
    for pattern in _PATTERNS:
        files = sorted(folder.glob(pattern))
        if len(files) == 1:
            return sha256(files[0])
        if files:
            lines = "".join(f"{sha256(file)}  {file.name}\n" for file in files)
            return hashlib.sha256(lines.encode()).hexdigest()
    return None
