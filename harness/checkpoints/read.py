"""Reading the tensors of a model's folder.

A safetensors file is 8 bytes (the header's length, little-endian), a JSON header (name -> dtype, shape,
byte range) and the tensors. We read it ourselves because a recovered checkpoint is a copy with byte ranges
replaced, and because the safetensors package maps files into memory, which counts as memory in use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from points24.harness.checkpoints.folder import INDEX, StoredTensor, read_header, read_json, weight_files
from points24.harness.checkpoints.lora import Update
from points24.harness.files import sha256
from points24.tasks.errors import InputError

FLOATS = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
"""The dtypes whose tensors can be edited, by their name in a header."""
_TYPES = FLOATS | {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "BOOL": torch.bool}
_TYPES |= {"U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16}
"""Every dtype of an unquantised checkpoint. Eight-bit integers and floats are quantised weights."""
_QUANTISED_NAMES = re.compile(r"\.(qweight|qzeros|weight_scale(_inv)?|weight_packed|absmax|quant_map|SCB)$")
BUFFER = re.compile(
    r"(rotary_emb\.inv_freq|\battn\.(masked_)?bias|\battention\.(masked_)?bias|position_ids)$"
)
"""Tensors that some versions of transformers store and others compute: no weights."""
RECORD = "recovery.json"
"""A file in every recovered checkpoint, with the SHA-256 of each weight file."""
_CONTAINERS = re.compile(r"^(?:(?:model|language_model|transformer|gpt_neox|backbone)\.)+")


@dataclass(frozen=True)
class Checkpoint:
    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, StoredTensor]
    """By name, in the order of the files."""
    files: tuple[str, ...]
    """The weight files."""
    digests: Mapping[str, str]
    """Weight file -> its expected SHA-256, where that is known."""
    adapter: Path | None = None
    """The folder of an adapter that is merged in as tensors are read; the rest is its base's."""
    updates: Mapping[str, Update] = field(default_factory=dict)
    """Tensor -> what the adapter adds to it."""
    replaced: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensor -> what the adapter puts in its place."""

    @property
    def given(self) -> Path:
        """The folder that was opened: the adapter's, or the model's."""
        return self.adapter or self.folder

    def read(self, name: str) -> Tensor:
        """A tensor in its stored dtype, as a copy in memory."""
        found = self.replaced[name].clone() if name in self.replaced else self._stored(name)
        return self.updates[name].merged(found) if name in self.updates else found

    def _stored(self, name: str) -> Tensor:
        stored = self.tensors[name]
        path, size = self.folder / stored.file, stored.stop - stored.start
        content = np.fromfile(path, np.uint8, size, offset=stored.start)
        if len(content) < size:
            raise InputError(f"{path}: ends inside {name}")
        if not size:  # an empty array has no strides to view
            return torch.empty(stored.shape, dtype=_TYPES[stored.dtype])
        return torch.from_numpy(content).view(_TYPES[stored.dtype]).view(stored.shape)

    def verify(self) -> None:
        """Compare the weight files with their known digests.

        Raises:
            InputError: a file has changed.
        """
        for file, wanted in self.digests.items():
            if (found := sha256(self.folder / file)) != wanted:
                raise InputError(f"{self.folder / file}: SHA-256 {found[:12]}..., expected {wanted[:12]}...")


def read_model_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder.

    Raises:
        InputError: it is missing or unreadable, or the model is quantised or has code of its own.
    """
    config = read_json(folder / "config.json")
    if "auto_map" in config:
        raise InputError(f"{folder}: config.json has auto_map (code of its own), which is not supported")
    text = config.get("text_config") or {}
    if not isinstance(text, dict):
        raise InputError(
            f"{folder / 'config.json'}: text_config: expected an object, found {type(text).__name__}"
        )
    if any(part.get("quantization_config") for part in (config, text)):
        raise InputError(f"{folder}: quantised weights; expected BF16, F16, F32 or F64")
    return config


def open_model(folder: Path) -> Checkpoint:
    """Read and check the headers of a model folder.

    Raises:
        InputError: a missing or damaged file, or pickled or quantised weights.
    """
    config = read_model_config(folder)
    files, shard_of = weight_files(folder)
    tensors: dict[str, StoredTensor] = {}
    for file in files:
        for name, stored in read_header(folder / file).items():
            if name in tensors:
                raise InputError(f"{folder}: {name} is in both {tensors[name].file} and {file}")
            is_known = stored.dtype in _TYPES or (stored.dtype == "U8" and BUFFER.search(name))
            if not is_known or _QUANTISED_NAMES.search(name):
                raise InputError(
                    f"{folder}: {name} ({stored.dtype}) is quantised; expected BF16, F16, F32 or F64"
                )
            tensors[name] = stored
    for name, file in shard_of.items():
        if name not in tensors or tensors[name].file != file:
            raise InputError(f"{folder}: {name} is not in {file}, where {INDEX} says it is")
    return Checkpoint(folder, config, tensors, files, _digests(folder, files))


def plain_name(tensor: str) -> str:
    """A tensor's name without its containers, which depend on how a model was saved."""
    return _CONTAINERS.sub("", tensor).replace("vision_tower.vision_model.", "vision_tower.")


def _digests(folder: Path, files: tuple[str, ...]) -> dict[str, str]:
    """Known digests: from recovery.json, and from the hub's cache, which names large files by SHA-256."""
    recorded = read_json(folder / RECORD).get("sha256") if (folder / RECORD).exists() else None
    if not isinstance(recorded or {}, dict):
        raise InputError(f"{folder / RECORD}: sha256: expected an object, found {type(recorded).__name__}")
    digests = {file: digest for file, digest in (recorded or {}).items() if file in files}
    for file in files:
        blob = (folder / file).resolve().name
        if (folder / file).is_symlink() and re.fullmatch(r"[0-9a-f]{64}", blob):
            digests[file] = blob
    return digests
