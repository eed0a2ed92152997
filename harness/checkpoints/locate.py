"""Where checkpoints are: folders, models of the hub, and the base of an adapter. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from points24.harness.checkpoints.folder import inspect_folder, read_json
from points24.harness.checkpoints.packaged import PACKAGED, written
from points24.harness.checkpoints.shipped import model_folder, shipped
from points24.tasks.errors import InputError

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_IN_A_RUN = re.compile(r"checkpoint-\d+|best-ood|final")
"""What a training run calls its checkpoints."""
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


def locate(name: str) -> Path:
    """A checkpoint's folder, downloaded if the name is the hub's ``owner/name`` or ``owner/name@revision``.

    Raises:
        InputError: neither a folder, nor a shipped model, nor an available model of the hub.
    """
    if (folder := local(name)) is not None:
        return folder
    repo, _, revision = name.partition("@")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        pickled = ["*.bin", "*.pth", "*.pt"]
        return Path(snapshot_download(repo, revision=revision or None, ignore_patterns=pickled))
    except (HFValidationError, OSError) as e:
        raise InputError(
            f"{name}: no such folder, and not available from the hub ({str(e).splitlines()[0]})"
        ) from e


def local(name: str) -> Path | None:
    """The folder that a name means here, inspected, or that of a model that we know; None for the hub's.

    The hub is not asked for what can only be a folder's path: it would be asked ten times, for a minute.

    Raises:
        InputError: a path that is no folder, a folder that `inspect_folder` refuses, or a packaged model that
            is not written yet.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        folder = folder.resolve()
        inspect_folder(folder)
        return folder
    if (named := by_name(name)) is not None:
        return named
    repo = name.partition("@")[0]
    if not _HUB_NAME.fullmatch(repo) or _IN_A_RUN.fullmatch(folder.name) or folder.exists():
        raise InputError(f"{name}: expected a folder or a model of the hub, found neither")
    return None


def by_name(name: str) -> Path | None:
    """The folder of a model that ships with the package or comes as packages; None for any other name.

    Raises:
        InputError: its folder is not written yet.
    """
    if name in PACKAGED:
        return written(name)
    return model_folder(name) if name in shipped() else None


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, and no whole model."""
    return (folder / ADAPTER_CONFIG).is_file() and not any(folder.glob("model*.safetensors*"))


def base_of(folder: Path) -> Path:
    """The folder of an adapter's base, as its configuration names it.

    Raises:
        InputError: it names none, or that is not to be found.
    """
    config = read_adapter_config(folder)
    name, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(name, str) or not name:
        raise InputError(f"{folder}: an adapter without its base: base_model_name_or_path is {name!r}")
    if (folder / name).is_dir():  # given from the adapter's folder
        base = (folder / name).resolve()
        inspect_folder(base)
        return base
    try:
        base = locate(f"{name}@{revision}" if revision and not Path(name).exists() else name)
    except InputError as e:
        raise InputError(
            f"{folder}: an adapter without its base {name!r}, which {ADAPTER_CONFIG} names ({e})"
        ) from e
    if is_adapter(base):
        raise InputError(f"{folder}: an adapter whose base {base} is an adapter; expected a whole model")
    return base


def read_adapter_config(folder: Path) -> Mapping[str, Any]:
    """Raises: InputError: it is missing or damaged."""
    return read_json(folder / ADAPTER_CONFIG)
