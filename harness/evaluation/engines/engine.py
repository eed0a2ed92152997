"""The interface of an engine: one of lm-eval's models that holds one checkpoint after another."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lm_eval.api.model import LM
from torch import Tensor

from points24.harness.checkpoints.digest import weights_digest
from points24.harness.checkpoints.locate import is_adapter
from points24.harness.checkpoints.opening import open_checkpoint
from points24.harness.checkpoints.write import Copy, check_space
from points24.tasks.errors import InputError


class EngineError(RuntimeError):
    """An engine does not hold the weights that it was given."""


@dataclass(kw_only=True)
class EngineConfig:
    """Which engine, and its settings, by lm-eval's names."""

    engine: str = "hf"
    """``hf``, ``vllm``, ``local-completions`` or ``local-chat-completions``."""
    model_args: dict[str, Any] = field(default_factory=dict)
    """lm-eval's ``--model_args``, without the model."""
    batch_size: int | str = "auto"
    """Deals per batch; ``auto`` leaves it to vLLM, and means 64 for hf and 1 for a server."""
    device: str | None = None
    """For hf; by default ``cuda`` where there is one, else ``cpu``."""
    fresh_engine: bool = False
    """Start vLLM anew for every checkpoint instead of swapping weights in place."""


class Tensors(Protocol):
    """Weights by name, with their configuration."""

    folder: Path
    """Holds config.json and the tokenizer."""

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor by its name in a checkpoint's files."""
        ...


class ModelWeights(Tensors, Protocol):
    """A checkpoint, on disk or in memory."""

    @property
    def digest(self) -> str | None:
        """SHA-256 over the weights."""
        ...

    def as_folder(self, scratch: Path) -> Path:
        """A folder with these weights: their own, or a new one below `scratch`."""
        ...


class FolderWeights:
    """A checkpoint on disk; an adapter is merged into a folder that lasts as long as this."""

    def __init__(self, folder: Path):
        self.folder = self._given = folder
        if is_adapter(folder):
            self._scratch = tempfile.TemporaryDirectory(prefix="points24-merged-")
            self.folder = Path(self._scratch.name) / folder.name
            checkpoint = open_checkpoint(folder)
            check_space(checkpoint, self.folder, [None])
            Copy(checkpoint, self.folder)
        self._digest: str | None = None

    @property
    def digest(self) -> str | None:
        """SHA-256 over the weights; None for a folder without weights."""
        self._digest = self._digest or weights_digest(self._given)
        return self._digest

    def as_folder(self, scratch: Path) -> Path:
        return self.folder

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor by its name.

        Raises:
            InputError: see `open_checkpoint`.
        """
        checkpoint = open_checkpoint(self.folder)
        return ((name, checkpoint.read(name)) for name in checkpoint.tensors)


class ServedWeights:
    """A model behind a server, by the server's name for it."""

    digest = None

    def __init__(self, name: str):
        self.folder = Path(name)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Raises: InputError: only its server has them."""
        raise InputError(f"{self.folder}: the weights of a model behind a server are not available here")

    def as_folder(self, scratch: Path) -> Path:
        return self.folder


class Engine(ABC):
    """One of lm-eval's models.

    Attributes:
        name: lm-eval's name of it.
        starts: how often a model or engine was started.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        self.name = config.engine
        self.starts = 0

    @abstractmethod
    def load(self, model: ModelWeights) -> LM:
        """lm-eval's model with these weights; an earlier one must no longer be used.

        Raises:
            InputError: it cannot hold these weights.
            EngineError: it reports success but does not hold them.
        """

    def close(self) -> None:  # noqa: B027 — most have nothing to free
        """Free what it holds; `load` starts it again."""
