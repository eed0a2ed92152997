"""Factors on disk, found by the content of the matrix, so that every recipe of a pair shares them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from points24.harness.files import replacing
from points24.harness.recovery.specs import Interval
from points24.harness.recovery.spectral.factors import Factors, factorise, orient
from points24.tasks.errors import InputError


class FactorStore:
    """Factorises each matrix once, with all its vectors.

    A file holds 8 q (q + 1) bytes, where q is the matrix's short side.

    Attributes:
        made: how many matrices were factorised here because no file had them.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.made = 0

    def __call__(self, matrix: Tensor, _ranks: Interval) -> Factors:
        """The factors of a (rows, cols) matrix, on its device.

        Raises:
            ValueError: an element is NaN or infinite.
            InputError: the folder cannot be written.
        """
        content = orient(matrix).contiguous().cpu().view(-1)
        digest = hashlib.sha256(f"{matrix.dtype} {min(matrix.shape)} {matrix.device.type} ".encode())
        digest.update(content.view(torch.uint8).numpy().data)
        path = self.folder / f"{digest.hexdigest()}.safetensors"
        if path.exists():
            stored = safetensors.torch.load_file(path, device=str(matrix.device))
            return Factors(stored["values"], stored["vectors"])
        factors = factorise(matrix)
        self.made += 1
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tensors = {"values": factors.values, "vectors": factors.vectors}
            with replacing(path, shared=True) as partial:  # several processes may be at the same matrix
                safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, partial)
        except (OSError, SafetensorError) as e:  # safetensors wraps errors of the system
            raise InputError(f"{self.folder}: {e}") from e
        return factors
