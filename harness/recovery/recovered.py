"""A recovered checkpoint in memory, tensor by tensor: for an engine that takes weights without a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from points24.harness.checkpoints.digest import joined_digest
from points24.harness.checkpoints.write import Copy, check_space, header_of_copy, in_dtype
from points24.harness.files import new_folder
from points24.harness.recovery.card import model_card
from points24.harness.recovery.recover import CheckedPair, change, new_report, summary
from points24.harness.recovery.spectral.factors import Factorise


class RecoveredWeights:
    """What one recipe of a pair makes of the target.

    Attributes:
        report: what was done and what to know about it, complete once `tensors` is exhausted.
    """

    def __init__(self, pair: CheckedPair, number: int, device: torch.device, factors_of: Factorise):
        """The recipe of that number; `device` is where to compute, `factors_of` factorises a matrix."""
        self._pair, self._number = pair, number
        self._device, self._factors_of = device, factors_of
        self.folder = pair.target.folder
        """Whose config.json and tokenizer it has."""
        self.report: dict[str, Any] = {}
        self._digest: str | None = None
        self._dtype = pair.plan.recipes[number].method.dtype

    @property
    def digest(self) -> str:
        """`points24.harness.checkpoints.digest.weights_digest` of the folder that `write` makes."""
        if self._digest is None:
            for _ in self.tensors():
                pass
        assert self._digest is not None
        return self._digest

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor of the target by name, recovered, in the order of its files.

        They have the target's dtype, unless the method prescribes another.

        Raises:
            InputError: NaN or Inf in a weight.
        """
        target = self._pair.target
        report = new_report(self._pair, self._pair.plan.recipes[self._number])
        digests = {}
        for file in target.files:
            stored = [(name, place) for name, place in target.tensors.items() if place.file == file]
            digest = digests[file] = hashlib.sha256(header_of_copy(target, file, self._dtype))
            for name, _ in sorted(stored, key=lambda item: item[1].start):
                tensor = self._recovered(name, report)
                if tensor.numel():
                    digest.update(tensor.flatten().view(torch.uint8).numpy().data)
                yield name, tensor
        self.report = report | {"summary": summary(report)}
        self._digest = joined_digest({file: digest.hexdigest() for file, digest in digests.items()})

    def write(self, out: Path, record: dict[str, Any]) -> None:
        """Write the same as a folder, with a record of where it comes from.

        Raises:
            InputError: it exists, or cannot be written (no room on the disk, say). Nothing is left behind.
        """
        check_space(self._pair.target, out, [self._dtype])
        with new_folder(out) as partial:
            copy = Copy(self._pair.target, partial, self._dtype)
            for name, tensor in self.tensors():
                copy.write(name, tensor)
            copy.finish(record | self.report, model_card(record, self.report))

    def as_folder(self, scratch: Path) -> Path:
        """The same as a folder below `scratch`, for an engine that reads files alone."""
        out = scratch / self.folder.name
        self.write(out, {"source": "", "target": str(self.folder), "command": ""})
        return out

    def _recovered(self, name: str, report: dict[str, Any]) -> Tensor:
        patch, number = _Patch(in_dtype(self._pair.target.read(name), self._dtype)), self._number
        sinks, reports = {number: patch}, {number: report}
        change(self._pair, name, sinks, reports, device=self._device, factors_of=self._factors_of)
        return patch.tensor


class _Patch:
    """A tensor that takes a recipe's changes."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor

    def dtype(self, name: str) -> torch.dtype:
        return self.tensor.dtype

    def write(self, name: str, rows: Tensor, starts: Tensor | None = None, step: int = 1) -> None:
        flat = self.tensor.view(-1)
        if starts is None:
            flat.copy_(rows.reshape(-1))
        else:
            flat[starts[:, None] + step * torch.arange(rows.shape[1])] = rows.cpu()
