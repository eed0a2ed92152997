"""Writing a checkpoint that is another one with some tensors replaced.

The target's folder is copied, tensors are written over their byte ranges, everything is flushed to disk, and
only then is the folder renamed to its final name. A failure before that leaves nothing behind.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from points24.harness.checkpoints.read import FLOATS, INDEX, RECORD, Checkpoint, StoredTensor
from points24.harness.files import sha256
from points24.tasks.errors import InputError

_STALE = (".bin", ".pt", ".pth", ".safetensors", ".gguf", ".h5", ".msgpack", ".onnx")
"""Weight files that we do not read: copied, they would still hold the target's weights."""
_CARD, _CARD_BESIDE = "README.md", "README.recovery.md"


def left_out(target: Checkpoint) -> list[str]:
    """Files of the target's folder that are not copied: weights that we do not read."""
    return [
        str(path.relative_to(target.folder))
        for path in _visible_files(target.folder)
        if path.suffix in _STALE and str(path.relative_to(target.folder)) not in target.files
    ]


def check_space(target: Checkpoint, out: Path, copies: int, dtype: str | None = None) -> None:
    """Check that copies of a target, in its dtype or another, fit on the disk of `out`.

    Raises:
        InputError: they do not.
    """
    needed = copies * size_of_copy(target, dtype)
    there = next(folder for folder in out.absolute().parents if folder.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise InputError(
            f"{out}: needs {needed / 2**30:.2f} GiB; {free / 2**30:.2f} GiB are free on that disk"
        )


def size_of_copy(target: Checkpoint, dtype: str | None = None) -> int:
    """Bytes of a copy of a target, in its dtype or another."""
    skipped = {*left_out(target), *target.files}
    visible = _visible_files(target.folder)
    others = (path for path in visible if str(path.relative_to(target.folder)) not in skipped)
    weights = sum(_size(stored, dtype) for stored in target.tensors.values())
    return weights + sum(path.stat().st_size for path in others)


class Copy:
    """A copy of a target checkpoint under construction."""

    def __init__(self, target: Checkpoint, folder: Path, dtype: str | None = None):
        """Copy every file; with a dtype (F32, ...), convert every floating-point tensor to it."""
        self.folder = folder
        self._target = target
        self._dtype = dtype
        folder.mkdir(exist_ok=True)
        skipped = {*left_out(target), RECORD, *(target.files if dtype else ())}
        for path in _visible_files(target.folder):
            relative = path.relative_to(target.folder)
            if str(relative) not in skipped:
                (folder / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / relative)
        if dtype is None:
            self._place = {name: (stored.file, stored.start) for name, stored in target.tensors.items()}
        else:
            self._place = {}
            for file in target.files:
                self._convert(file, dtype)
            self._describe(dtype)

    def dtype(self, name: str) -> torch.dtype:
        """The dtype in which a tensor of the copy is stored."""
        return FLOATS[self._dtype or self._target.tensors[name].dtype]

    def write(self, name: str, rows: Tensor, starts: Tensor | None = None) -> None:
        """Replace a tensor, or parts of it.

        Args:
            name: of the tensor
            rows: the new values, in the dtype of the copy
            starts: (count,), the element at which each of the rows, (count, width), starts; None: the rows
                are the whole tensor
        """
        file, place = self._place[name]
        content = _bytes(rows)
        if starts is None or bool((starts.diff() == rows.shape[1]).all()):  # one stretch of the file
            pieces = [(0 if starts is None else int(starts[0]), content)]
        else:
            width = len(content) // len(rows)
            pieces = [
                (start, content[i * width : (i + 1) * width]) for i, start in enumerate(starts.tolist())
            ]
        with (self.folder / file).open("r+b", buffering=0) as stream:
            for start, piece in pieces:
                stream.seek(place + start * rows.itemsize)
                _write(stream, piece)

    def finish(self, record: dict[str, Any], card: str) -> None:
        """Add the record, with the weights' digests, and the model card; copy the target's permissions."""
        record = record | {"sha256": {file: sha256(self.folder / file) for file in self._target.files}}
        (self.folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        beside = (self.folder / _CARD).exists()  # the target's own card stays
        (self.folder / (_CARD_BESIDE if beside else _CARD)).write_text(card, "utf-8")
        for path in (self.folder, *self.folder.rglob("*")):
            original = self._target.folder / path.relative_to(self.folder)
            like = original if original.exists() else self._target.folder / "config.json"
            shutil.copymode(like, path)

    def _convert(self, file: str, dtype: str) -> None:
        """Write one weight file with a header for the new dtype."""
        tensors = {n: s for n, s in self._target.tensors.items() if s.file == file}
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        offset = 0
        for name, stored in tensors.items():
            kind = dtype if stored.dtype in FLOATS else stored.dtype
            size = _size(stored, dtype)
            header[name] = {"dtype": kind, "shape": stored.shape, "data_offsets": [offset, offset + size]}
            offset += size
        head = json.dumps(header).encode()
        head += b" " * (-len(head) % 8)
        with (self.folder / file).open("wb") as stream:
            stream.write(len(head).to_bytes(8, "little") + head)
            for name, stored in tensors.items():
                self._place[name] = (file, stream.tell())
                if stored.dtype in FLOATS:
                    _write(stream, _bytes(self._target.read(name).to(FLOATS[dtype])))
                else:
                    with (self._target.folder / file).open("rb") as original:
                        original.seek(stored.start)
                        stream.write(original.read(stored.stop - stored.start))

    def _describe(self, dtype: str) -> None:
        """Put the new dtype into config.json, where loaders look for it, and the new size into the index."""
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


def _write(stream: Any, content: memoryview) -> None:
    while content:
        content = content[stream.write(content) or 0 :]  # an unbuffered write may be short


def _visible_files(folder: Path) -> list[Path]:
    """Every file below a folder, except inside hidden folders (.git, .cache)."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts[:-1])
    )
