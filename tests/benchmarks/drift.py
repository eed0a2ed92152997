"""What drift costs beyond the factorisations that it cannot do without.

    python -m tests.benchmarks.drift        about a minute

Five checkpoints of a Llama-shaped model against a first one, by the command, in CPU seconds of one thread; then
all six checkpoints read and every matrix factorised, and nothing else. Drift also factorises a seventh matrix,
the first one's neighbour within bf16 rounding. The first matrices of a process are not counted. Then the peak of
memory for one 8192 x 2048 pair, in copies of the matrix in fp64. Prints Markdown.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from tabulate import tabulate
from transformers import LlamaConfig, LlamaForCausalLM

from points24.harness.checkpoints.opening import open_checkpoint
from points24.harness.cli import main as points24
from points24.harness.drift.matrices import First
from points24.harness.recovery.spectral.factors import factorise
from tests.benchmarks.table import Row, exponent, memory

OTHERS = 5
SHAPE: dict[str, Any] = {
    "vocab_size": 512, "hidden_size": 1024, "intermediate_size": 3584, "num_hidden_layers": 2,
    "num_attention_heads": 16, "num_key_value_heads": 4,
}  # fmt: skip
"""The proportions of Llama 3."""


def make(folder: Path) -> list[Path]:
    """bf16 checkpoints: random weights, then each the one before with a perturbation of a tenth."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE)).bfloat16()
    folders = [folder / f"checkpoint-{step}" for step in range(1 + OTHERS)]
    for each in folders:
        model.save_pretrained(each)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.002 * torch.randn_like(parameter))
    return folders


def seconds_of_drift(folders: list[Path], out: Path) -> float:
    began = time.process_time()
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        assert points24(["drift", *map(str, folders), "-o", str(out)]) == 0
    return time.process_time() - began


def seconds_of_factorisations(folders: list[Path]) -> float:
    began = time.process_time()
    for folder in folders:
        checkpoint = open_checkpoint(folder)
        for name, stored in checkpoint.tensors.items():
            if len(stored.shape) == 2 and ".layers." in name:
                factorise(checkpoint.read(name))
    return time.process_time() - began


def copies_inmemory() -> float:
    """The peak above what is held before, for one pair."""
    a = torch.randn(8192, 2048).bfloat16()
    b = (a.float() + 0.1 * torch.randn(8192, 2048)).bfloat16()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = memory("VmRSS")
    First.of(a).to(b)
    return (memory("VmHWM") - before) / (8 * a.numel())


def seconds(others: tuple[int, ...]) -> tuple[dict[int, float], float]:
    """CPU seconds of drift over so many checkpoints after the first, and of all factorisations alone."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folders = make(Path(name))
        First.of(torch.randn(64, 64)).to(torch.randn(64, 64))
        drift = {
            count: seconds_of_drift(folders[: 1 + count], Path(name) / f"drift-{count}") for count in others
        }
        return drift, seconds_of_factorisations(folders)


def rows() -> Iterator[Row]:
    drift, alone = seconds((1, 2, OTHERS))
    growth = exponent([1 + count for count in drift], lambda size: drift[size - 1])
    what = f"drift, {OTHERS} checkpoints"
    yield Row(what, drift[OTHERS], "the factorisations alone", alone, "CPU s", "checkpoints", growth)


def main() -> None:
    by_count, alone = seconds((OTHERS,))
    drift = by_count[OTHERS]
    headers = ["checkpoints", "drift, CPU s", "factorisations alone", "ratio"]
    print(
        tabulate(
            [[OTHERS, drift, alone, drift / alone]], headers, "github", floatfmt=("d", ".1f", ".1f", ".2f")
        )
    )
    print(f"\nmemory: {copies_inmemory():.2f} fp64 copies of the matrix")


if __name__ == "__main__":
    main()
