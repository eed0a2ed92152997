"""Writing a copy of a checkpoint with some tensors replaced: they overwrite their byte ranges in the copy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from points24.harness.checkpoints.digest import BESIDE
from points24.harness.checkpoints.folder import INDEX, StoredTensor, read_header
from points24.harness.checkpoints.read import FLOATS, RECORD, Checkpoint
from points24.harness.files import flush, sha256
from points24.tasks.errors import InputError

_STALE = (".bin", ".pt", ".pth", ".safetensors", ".gguf", ".h5", ".msgpack", ".onnx")
"""Formats of weight files that we do not read. A copy of one would still hold the target's weights."""
_CARD, _CARD_BESIDE = "README.md", "README.recovery.md"


def left_out(target: Checkpoint) -> list[str]:
    """Files in the target's folder that are not copied: weights that we do not read."""
    return [
        name for name in _visible_files(target.folder) if name.endswith(_STALE) and name not in target.files
    ]


def check_space(target: Checkpoint, out: Path, dtypes: Sequence[str | None], beside: int = 0) -> None:
    """Check that a copy of a target in each of these dtypes (None: its own) fits on the disk of `out`.

    `beside`: bytes of what else lies there until the copies are done.

    Raises:
        InputError: they do not.
    """
    needed = beside + sum(size_of_copy(target, dtype) for dtype in dtypes)
    there = next(folder for folder in out.absolute().parents if folder.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise InputError(
            f"{out}: needs {needed / 2**30:.2f} GiB; {free / 2**30:.2f} GiB are free on that disk"
        )


def size_of_copy(target: Checkpoint, dtype: str | None = None) -> int:
    """Bytes of a copy of a target, in its own or another dtype."""
    others = set(_visible_files(target.folder)) - {*left_out(target), *target.files}
    weights = sum(_size(stored, dtype) for stored in target.tensors.values())
    return weights + sum((target.folder / name).stat().st_size for name in others)


class Copy:
    """A copy of a target checkpoint under construction."""

    def __init__(self, target: Checkpoint, folder: Path, dtype: str | None = None, *, is_there: bool = False):
        """Copy every file, unless that is done; with a dtype (F32, …), convert floating-point tensors."""
        self.folder = folder
        self._target = target
        self._dtype = dtype
        if not is_there:
            self._fill()
        headers = [read_header(folder / file) for file in target.files]
        self._place = {name: stored for header in headers for name, stored in header.items()}
        if not is_there and dtype is None:
            for name in {*target.updates, *target.replaced}:
                self.write(name, target.read(name))

    def _fill(self) -> None:
        target, folder = self._target, self.folder
        folder.mkdir(exist_ok=True)
        skipped = {*left_out(target), RECORD, *(target.files if self._dtype else ())}
        for name in _visible_files(target.folder):
            if name not in skipped:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(target.folder / name, folder / name)
        if target.adapter is not None:  # it may have a tokenizer of its own
            for name in {*BESIDE, "added_tokens.json"} & set(_visible_files(target.adapter)):
                shutil.copyfile(target.adapter / name, folder / name)
        if self._dtype is not None:
            for file in target.files:
                self._convert(file, self._dtype)
            self._describe(self._dtype)

    def dtype(self, name: str) -> torch.dtype:
        """The dtype in which a tensor of the copy is stored."""
        return FLOATS[self._dtype or self._target.tensors[name].dtype]

    def write(self, name: str, rows: Tensor, starts: Tensor | None = None, step: int = 1) -> None:
        """Replace a tensor, or parts of it.

        Args:
            name: the tensor's name.
            rows: the new values, in the dtype of the copy: (count, width), or the whole tensor.
            starts: (count,), the element of the flat tensor at which each row starts; None replaces the whole
                tensor.
            step: from one element of a row to the next, in the flat tensor.
        """
        place = self._place[name]
        content = _bytes(rows)
        elements = [0] if starts is None else starts.tolist()
        if starts is not None and step == 1 and bool((starts.diff() == rows.shape[1]).all()):
            elements = elements[:1]  # contiguous rows are written as one
        width = len(content) // len(elements)
        with (self.folder / place.file).open("r+b") as stream:
            for i, element in enumerate(elements):
                at = place.start + element * rows.itemsize
                row = content[i * width : (i + 1) * width]
                if step > 1:
                    row = _spread(stream, at, row, rows.itemsize, step)
                stream.seek(at)
                stream.write(row)

    def flush(self, name: str) -> None:
        """Bring what was written of a tensor to the disk."""
        flush(self.folder / self._place[name].file)

    def finish(self, record: dict[str, Any], card: str) -> None:
        """Add recovery.json with the weights' digests, and the model card; copy the target's permissions."""
        record = record | {"sha256": {file: sha256(self.folder / file) for file in self._target.files}}
        (self.folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        beside = (self._target.folder / _CARD).exists()  # its own card stays
        (self.folder / (_CARD_BESIDE if beside else _CARD)).write_text(card, "utf-8")
        for path in (self.folder, *self.folder.rglob("*")):
            original = self._target.folder / path.relative_to(self.folder)
            like = original if original.exists() else self._target.folder / "config.json"
            shutil.copymode(like, path)

    def _convert(self, file: str, dtype: str) -> None:
        """Write one weight file with a header for the new dtype."""
        with (self.folder / file).open("wb") as stream:
            stream.write(header_of_copy(self._target, file, dtype))
            for name, stored in self._target.tensors.items():
                if stored.file == file:
                    stream.write(_bytes(in_dtype(self._target.read(name), dtype)))

    def _describe(self, dtype: str) -> None:
        """Write the new dtype into config.json, where loaders read it, and the new size into the index."""
        config = json.loads((self.folder / "config.json").read_text("utf-8"))
        for part in (config, config.get("text_config") or {}):
            for key in ("dtype", "torch_dtype"):
                if key in part:
                    part[key] = str(FLOATS[dtype]).removeprefix("torch.")
        (self.folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        if (self.folder / INDEX).exists():
            index = json.loads((self.folder / INDEX).read_text("utf-8"))
            size = sum((self.folder / file).stat().st_size for file in self._target.files)
            index["metadata"] = {**(index.get("metadata") or {}), "total_size": size}
            (self.folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")


def header_of_copy(target: Checkpoint, file: str, dtype: str | None) -> bytes:
    """What a copy's weight file of that name begins with, in another dtype or (None) in the target's own."""
    tensors = {name: stored for name, stored in target.tensors.items() if stored.file == file}
    if dtype is None:
        with (target.folder / file).open("rb") as stream:
            return stream.read(min(stored.start for stored in tensors.values()))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, stored in tensors.items():
        kind = dtype if stored.dtype in FLOATS else stored.dtype
        size = _size(stored, dtype)
        header[name] = {"dtype": kind, "shape": stored.shape, "data_offsets": [offset, offset + size]}
        offset += size
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head


def in_dtype(tensor: Tensor, dtype: str | None) -> Tensor:
    """A tensor as a copy in that dtype has it; None keeps its own, and so do integers and truth values."""
    return tensor if dtype is None or tensor.dtype not in FLOATS.values() else tensor.to(FLOATS[dtype])


def _spread(stream: BinaryIO, at: int, row: memoryview, itemsize: int, step: int) -> bytes:
    """What a file has from a byte on, with the elements of a row put `step` elements apart."""
    count = len(row) // itemsize
    stream.seek(at)
    there = bytearray(stream.read(((count - 1) * step + 1) * itemsize))
    for byte in range(itemsize):
        there[byte :: step * itemsize] = row[byte::itemsize]
    return bytes(there)


def _size(stored: StoredTensor, dtype: str | None) -> int:
    """Bytes of a tensor in a copy."""
    size = stored.stop - stored.start
    if dtype is None or stored.dtype not in FLOATS:
        return size
    return size // FLOATS[stored.dtype].itemsize * FLOATS[dtype].itemsize


def _bytes(tensor: Tensor) -> memoryview:
    if not tensor.numel():
        return memoryview(b"")
    return memoryview(tensor.contiguous().cpu().flatten().view(torch.uint8).numpy().data)


def _visible_files(folder: Path) -> list[str]:
    """The relative path of every file below a folder, except inside hidden folders (.git, .cache)."""
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [str(path) for path in files if not any(part.startswith(".") for part in path.parts[:-1])]
