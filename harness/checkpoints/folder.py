"""A model's folder as files, inspected before anything loads it. Needs no torch.

Nothing in a folder that somebody else made is believed: what is neither file nor folder hangs whoever reads
it, a link or an index may lead out of the folder, a header may describe tensors that are not there, and a
configuration may ask for more layers than memory holds.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from points24.tasks.errors import InputError

ITEMSIZE = {
    "F64": 8,
    "F32": 4,
    "BF16": 2,
    "F16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "BOOL": 1,
    "U64": 8,
    "U32": 4,
    "U16": 2,
}
"""Bytes of an element, by the dtype's name in a header, of every dtype of an unquantised checkpoint."""
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_LAYERS = re.compile(r"(n|num)_(\w+_)?layers?")
"""What configurations call a number of layers: num_hidden_layers, n_layer, num_decoder_layers, …"""
_MAX_HEADER = 100_000_000
_SPARSE = 100
"""A file of over 1 GiB of which the disk holds less than one part in this many is a hole, not weights."""


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor is stored."""

    dtype: str
    """As in the header: BF16, F32, …"""
    shape: tuple[int, ...]
    file: str
    """Name of the file in the folder."""
    start: int
    """First byte, counted from the start of the file."""
    stop: int


def inspect_folder(folder: Path) -> None:
    """Check a folder that is about to be loaded, by us or by another library.

    Links may lead to the hub's cache, whose folders are made of them, and nowhere else outside.

    Raises:
        InputError: something in it is neither file nor folder, or a link out of it or to nothing; its index
            names files elsewhere; a weight file is cut off, damaged or mostly a hole; or config.json has more
            layers than there are tensors.
    """
    for path in sorted(folder.iterdir()):
        if path.is_symlink() and not path.is_dir():
            _check_link(path)
        if path.exists() and not path.is_dir():
            _check_file(path)
    if not ((folder / INDEX).exists() or (folder / SINGLE).exists()):
        return
    tensors = sum(len(read_header(folder / file)) for file in weight_files(folder)[0])
    config = read_json(folder / "config.json") if (folder / "config.json").exists() else {}
    for name, layers in _numbers_of_layers(config):
        if layers > tensors:
            raise InputError(
                f"{folder / 'config.json'}: {name} is {layers}; the weights hold {tensors} tensors"
            )


def _check_link(path: Path) -> None:
    # Path.resolve raises another error for a circle in each version of Python.
    folder, target = path.parent.resolve(), Path(os.path.realpath(path))
    if not path.exists():
        raise InputError(f"{path}: a link to {target}, which does not exist")
    in_the_hub = target.parent.name == "blobs" and target.parent.parent.name.startswith("models--")
    if not (target.is_relative_to(folder) or in_the_hub):
        raise InputError(f"{path}: a link out of the model's folder, to {target}; copy the file into it")


def _check_file(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: expected a file, found a pipe, a device or a folder")


def _numbers_of_layers(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Of a configuration and of those inside it, such as text_config."""
    for name, value in config.items():
        if isinstance(value, dict) and name.endswith("config"):
            yield from _numbers_of_layers(value)
        elif isinstance(value, int) and _LAYERS.fullmatch(name):
            yield name, value


def weight_files(folder: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """The names of the weight files, and the file of each tensor by the index; empty without an index."""
    if (folder / INDEX).exists():
        shard_of = read_json(folder / INDEX).get("weight_map") or {}
        if not isinstance(shard_of, dict) or not all(isinstance(file, str) for file in shard_of.values()):
            raise InputError(f"{folder / INDEX}: expected weight_map to name files")
        files = tuple(sorted(set(shard_of.values())))
        if outside := [file for file in files if re.search(r"[/\\\0]", file) or file in ("", ".", "..")]:
            raise InputError(f"{folder / INDEX}: {outside[0]!r} is no file in this folder")
        return files, shard_of
    if (folder / SINGLE).exists():
        return (SINGLE,), {}
    pickles = sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth") for p in folder.glob(pattern))
    found = f"found {pickles[0]} (pickled)" if pickles else "found neither"
    raise InputError(f"{folder}: expected {SINGLE} or {INDEX}, {found}")


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one safetensors file, in order of their place in it."""
    try:
        _check_file(path)
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _MAX_HEADER):
                raise InputError(f"{path}: truncated or no safetensors file")
            if 0 < path.stat().st_blocks * 512 < size // _SPARSE and size > 2**30:
                raise InputError(f"{path}: {size} bytes of which the disk holds almost none: no weights")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        tensors = {
            name: StoredTensor(
                entry["dtype"],
                tuple(entry["shape"]),
                path.name,
                *(8 + length + offset for offset in entry["data_offsets"]),
            )
            for name, entry in header.items()
        }
        _check_layout(path, tensors, 8 + length, size)
    except InputError:
        raise
    except OSError as e:
        raise InputError(f"{path}: {e.strerror}") from e
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
        raise InputError(f"{path}: the header is damaged ({type(e).__name__})") from e
    return dict(sorted(tensors.items(), key=lambda item: item[1].start))


def _check_layout(path: Path, tensors: Mapping[str, StoredTensor], place: int, size: int) -> None:
    """Check that the tensors fill the file without gaps or overlaps, from byte `place` to its end."""
    for name, stored in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        found = stored.stop - stored.start
        itemsize = ITEMSIZE.get(stored.dtype)
        expected = found if itemsize is None else prod(stored.shape) * itemsize
        if stored.start != place or found != expected or expected < 0:
            raise InputError(f"{path}: the header is damaged at {name}")
        place = stored.stop
    if place != size:
        raise InputError(f"{path}: {size} bytes, but its header describes {place}")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file of JSON.

    Raises:
        InputError: it is missing or a pipe, or holds no object, one nested too deeply, or what is no
            text.
    """
    try:
        _check_file(path)
        value = json.loads(path.read_text("utf-8"))
        json.dumps(value, ensure_ascii=False).encode()  # fails where a text holds half of a surrogate pair
    except InputError:
        raise
    except OSError as e:
        raise InputError(f"{path}: {e.strerror}") from e
    except (ValueError, RecursionError) as e:  # JSON and UTF-8 errors; brackets a thousand deep
        raise InputError(f"{path}: not JSON") from e
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected an object, found {type(value).__name__}")
    return value
