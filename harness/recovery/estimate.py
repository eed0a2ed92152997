"""What a recovery would cost, from shapes alone and a probe of this machine's speed (about a second)."""

from __future__ import annotations

import time
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch

from points24.harness.checkpoints.read import Checkpoint, StoredTensor, read_config
from points24.harness.recovery.plan import Plan
from points24.harness.recovery.spectral.factors import eigen
from points24.harness.recovery.spectral.splice import wanted_ranks

_PROBE = 1024
_DISK = 4e8
"""Bytes a second, written and read again; a guess, and never most of the time."""

_BESIDE = 40 * 2**20
"""Bytes for chunks of rows, strips of results, and the libraries' own buffers, as measured."""


class Cost(NamedTuple):
    seconds: float
    """Wall time with the threads of this process."""
    memory: int
    """Bytes beside the libraries, at the peak."""
    disk: int
    """Bytes of the output."""


class Speed(NamedTuple):
    """How fast one device is in fp64."""

    gemm: float
    """Floating-point operations a second of a matrix product."""
    eigen: tuple[float, float, float]
    """Seconds for the eigenvalues of a matrix, for one vector with them, and for all, divided by its side
    cubed."""

    def eigen_seconds(self, side: int, vectors: int) -> float:
        """For the eigenvalues of a matrix and so many of its vectors."""
        none, one, every = self.eigen
        return side**3 * (one + (every - one) * vectors / side if vectors else none)


def probe(device: torch.device) -> Speed:
    """Measure, with matrices of 1024 x 1024."""
    matrix = torch.randn(_PROBE, _PROBE, dtype=torch.float64, device=device)
    symmetric = matrix + matrix.T
    gemm = min(_timed(lambda: matrix @ matrix, device) for _ in range(3))
    none, one, every = (
        min(_timed(lambda k=k: eigen(symmetric.clone(), (0, k)), device) for _ in range(2)) / _PROBE**3
        for k in (0, 1, _PROBE)
    )
    return Speed(2 * _PROBE**3 / gemm, (none, one, every))


def estimate(plan: Plan, target: Checkpoint, speed: Speed, itemsize: int | None = None) -> Cost:
    """The cost of a plan.

    Args:
        plan: what changes
        target: the checkpoint to change
        speed: of the device
        itemsize: bytes of an element of the output; None: as in the target
    """
    seconds, peak = 0.0, 0
    for name, parts in plan.matrices.items():
        stored = target.tensors[name]
        for part, recipes in parts:
            rows, cols = part.shape(stored.shape)
            m, q = max(rows, cols), min(rows, cols)
            cuts = list(dict.fromkeys(plan.recipes[i].cut((rows, cols)) for i in recipes))
            operations = 2 * m * q * q  # two Gram matrices, of which half is computed
            for restore in {cut.restore for cut in cuts}:
                mine = [cut for cut in cuts if cut.restore == restore]
                ranks = len({r for cut in mine for start, stop in cut.intervals for r in range(start, stop)})
                products = 2 if restore == "values" else 4
                # A taper runs over every rank, and by itself.
                hard = any(not cut.taper for cut in mine)
                operations += products * 2 * m * q * (ranks * hard + q * sum(cut.taper > 0 for cut in mine))
            vectors = [stop - start for start, stop in wanted_ranks(cuts, q)]
            seconds += operations / speed.gemm + sum(speed.eigen_seconds(q, k) for k in vectors)
            # Both tensors, and the source's vectors while three squares are in use for the target's.
            held = 2 * (stored.stop - stored.start) + 8 * q * (vectors[0] + 3 * q)
            peak = max(peak, held + _BESIDE)
    weights = sum(prod(s.shape) * itemsize if itemsize else s.stop - s.start for s in target.tensors.values())
    disk = weights * len(plan.recipes)
    return Cost(seconds + 2 * disk / _DISK, peak, disk)


def checkpoint_from_config(folder: Path) -> Checkpoint:
    """The tensors that a config.json describes, for an estimate without weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = read_config(folder)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    itemsize = 4 if config.get("dtype", config.get("torch_dtype")) == "float32" else 2
    kind = {2: "BF16", 4: "F32"}[itemsize]
    tied = (
        set(getattr(model, "_tied_weights_keys", None) or ()) if config.get("tie_word_embeddings") else set()
    )
    tensors = {
        name: StoredTensor(kind, tuple(tensor.shape), "", 0, tensor.numel() * itemsize)
        for name, tensor in model.state_dict().items()
        if name not in tied
    }
    return Checkpoint(folder, config, tensors, (), {})


def as_text(cost: Cost) -> dict[str, Any]:
    """For people."""
    hours, seconds = divmod(round(cost.seconds), 3600)
    return {
        "time": f"{hours} h {seconds // 60} min" if hours else f"{seconds // 60} min {seconds % 60} s",
        "memory": f"{cost.memory / 2**30:.2f} GiB",
        "disk": f"{cost.disk / 2**30:.2f} GiB",
    }


def _timed(work: Any, device: torch.device) -> float:
    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    began = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - began
