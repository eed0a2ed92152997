"""The identity of a checkpoint: one digest over its weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

_PATTERNS = ("*.safetensors", "pytorch_model*.bin")
_CHUNK = 1 << 20


def weights_digest(folder: Path) -> str | None:
    """SHA-256 over a model folder's weights; None where it holds none.

    Of a single file it is that file's own SHA-256. Of several shards it is the SHA-256 over the lines
    ``<sha256>  <file name>``, in order of name: what ``sha256sum *.safetensors | sha256sum`` prints.
    """
    for pattern in _PATTERNS:
        files = sorted(folder.glob(pattern))
        if len(files) == 1:
            return _file_digest(files[0])
        if files:
            lines = "".join(f"{_file_digest(file)}  {file.name}\n" for file in files)
            return hashlib.sha256(lines.encode()).hexdigest()
    return None


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
