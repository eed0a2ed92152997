"""Factors on disk, found by the content of the matrix, so that recipes, jobs and processes share them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import safetensors.torch
import torch
from filelock import FileLock
from safetensors import SafetensorError
from torch import Tensor

from points24.harness.files import replacing
from points24.harness.recovery.specs import Interval
from points24.harness.recovery.spectral.factors import Factors, factorise, orient
from points24.tasks.errors import InputError


class FactorStore:
    """Factorises each matrix once, with all its vectors, however many processes ask for it.

    A process claims a matrix by a lock, which the system takes back when the process ends, however it ends. A
    file holds 8 q (q + 1) bytes, where q is the matrix's short side.

    Attributes:
        made: how many matrices were factorised here because no file had them.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.made = 0

    def __call__(self, matrix: Tensor, _ranks: Interval) -> Factors:
        """The factors of a (rows, cols) matrix, on its device; waits for a process that is making them.

        Raises:
            ValueError: an element is NaN or infinite.
            InputError: the folder cannot be written.
        """
        path = self._path(matrix)
        factors = self._made(matrix, path)
        if factors is not None:
            return factors
        stored = safetensors.torch.load_file(path, device=str(matrix.device))
        return Factors(stored["values"], stored["vectors"])

    def _path(self, matrix: Tensor) -> Path:
        content = orient(matrix).contiguous().cpu().view(-1)
        digest = hashlib.sha256(f"{matrix.dtype} {min(matrix.shape)} {matrix.device.type} ".encode())
        digest.update(content.view(torch.uint8).numpy().data)
        return self.folder / f"{digest.hexdigest()}.safetensors"

    def _made(self, matrix: Tensor, path: Path) -> Factors | None:
        """The factors, made here and stored; None if they are stored already."""
        if path.exists():
            return None
        claim = FileLock(path.with_suffix(".lock"))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with claim:
                try:
                    return None if path.exists() else self._make(matrix, path)
                finally:
                    # Whoever waits for this file's lock finds the factors there, or makes them.
                    Path(claim.lock_file).unlink(missing_ok=True)
        except (OSError, SafetensorError) as e:  # safetensors wraps errors of the system
            raise InputError(f"{self.folder}: {e}") from e

    def _make(self, matrix: Tensor, path: Path) -> Factors:
        factors = factorise(matrix)
        self.made += 1
        tensors = {"values": factors.values, "vectors": factors.vectors}
        with replacing(path) as partial:
            safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, partial)
        return factors
