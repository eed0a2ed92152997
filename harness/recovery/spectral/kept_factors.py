"""Factors on disk until the tensor that they are of is done, so that a kill costs none of them."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from points24.harness.files import replacing
from points24.harness.recovery.specs import Interval
from points24.harness.recovery.spectral.factors import Factors, factorise


class KeptFactors:
    """Factorises, or takes what an earlier run of the same task has left of the same tensor.

    The matrices of a tensor are asked for in the same order by every run of a task: a matrix is known by its
    number in it.
    """

    def __init__(self, folder: Path, name: str):
        """`folder` exists; `name` is a file name that no other tensor of the task has."""
        self._folder, self._name, self._asked = folder, name, 0

    def __call__(self, matrix: Tensor, ranks: Interval) -> Factors:
        """The factors of a (rows, cols) matrix, with the vectors of these ranks, on its device.

        Raises:
            ValueError: an element is NaN or infinite.
            OSError: the disk is full, say.
        """
        path = self._path(self._asked)
        self._asked += 1
        if (found := _read(path, matrix.device)) is not None:
            return found
        factors = factorise(matrix, ranks)
        tensors = {"values": factors.values, "vectors": factors.vectors, "first": torch.tensor(factors.first)}
        try:
            with replacing(path) as partial:
                safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, partial)
        except SafetensorError as e:  # wraps errors of the system
            raise OSError(str(e)) from e
        return factors

    def forget(self) -> None:
        """Remove the files: the tensor is done."""
        for number in range(self._asked):
            self._path(number).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._name}.{number}.safetensors"


def _read(path: Path, device: torch.device) -> Factors | None:
    """None where there is no file, or one that a power cut has left in pieces."""
    try:
        stored = safetensors.torch.load_file(path, device=str(device))
    except (FileNotFoundError, SafetensorError):
        return None
    return Factors(stored["values"], stored["vectors"], int(stored["first"]))
