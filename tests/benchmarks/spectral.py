"""Spectral recovery against the usual way, on a Llama-shaped pair of about 50 million parameters.

    python tests/benchmarks/spectral.py             a few minutes
    python tests/benchmarks/spectral.py estimate    what --dry-run says of two layers of a 7B model, and what is
    python tests/benchmarks/spectral.py factors     the steps of a factorisation beside what torch offers

The yardstick loads both models whole and, for every recipe, takes two full fp32 SVDs of every matrix inside
the layers, puts the source's leading singular vectors into the target's, multiplies out and saves. Each row
is a process of its own, with one thread: threads that wait for each other would count as work. CPU seconds
leave the imports out; memory is the peak of the resident set above what it was after the imports. (The peak
is VmHWM. getrusage's, under Linux, is never less than that of the process which started this one: for the
leaner of the two methods it used to say how much memory making the pair had taken.) Prints a Markdown
table.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tabulate import tabulate

SHARES = (5, 10, 15, 20, 25, 30, 40, 50, 60, 80)
SMALL = {
    "vocab_size": 4096, "hidden_size": 1024, "intermediate_size": 3584, "num_hidden_layers": 3,
    "num_attention_heads": 16, "num_key_value_heads": 4,
}  # fmt: skip
"""The proportions of Llama 3."""
TWO_LAYERS_OF_7B = {
    "vocab_size": 256, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 2,
    "num_attention_heads": 28, "num_key_value_heads": 4,
}  # fmt: skip
"""Layers of Qwen 2.5 7B, without its vocabulary."""


def make_pair(folder: Path, shape: dict[str, Any]) -> None:
    """Two bf16 checkpoints: `source` has random weights, `target` the same with a perturbation of a tenth."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    model = LlamaForCausalLM(LlamaConfig(**shape))
    model.save_pretrained(folder / "source")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * 0.02 * torch.randn_like(parameter))
    model.save_pretrained(folder / "target")
    print(f"{model.num_parameters() / 1e6:.1f} M parameters, bf16", flush=True)


def ours(folder: Path, shares: tuple[int, ...]) -> None:
    from points24.harness.cli import main

    ranks = [word for share in shares for word in ("--ranks", f"top {share}%")]
    pair = ["--source", str(folder / "source"), "--target", str(folder / "target")]
    assert main(["recover", *pair, *ranks, "-o", str(folder / f"ours{len(shares)}")]) == 0


def yardstick(folder: Path, shares: tuple[int, ...]) -> None:
    import torch
    from transformers import LlamaForCausalLM

    for share in shares:
        source, target = (
            LlamaForCausalLM.from_pretrained(folder / name, dtype=torch.bfloat16)
            for name in ("source", "target")
        )
        theirs = dict(source.named_parameters())
        with torch.no_grad():
            for name, parameter in target.named_parameters():
                if parameter.dim() != 2 or ".layers." not in name:
                    continue
                u, s, vh = torch.linalg.svd(parameter.float(), full_matrices=False)
                ub, _, vbh = torch.linalg.svd(theirs[name].float(), full_matrices=False)
                k = round(len(s) * share / 100)
                u[:, :k], vh[:k] = ub[:, :k], vbh[:k]
                parameter.copy_(u @ torch.diag(s) @ vh)
        target.save_pretrained(folder / f"yardstick{share}")


def measure(method: str, folder: Path, count: int) -> None:
    """One row, in this process: prints CPU seconds and MiB."""
    import torch  # noqa: F401
    import transformers.models.llama.modeling_llama  # noqa: F401

    from points24.harness.recovery import recover  # noqa: F401

    shares = SHARES if count > 1 else (20,)
    before, began = _memory("VmRSS"), time.process_time()
    {"ours": ours, "yardstick": yardstick}[method](folder, shares)
    print(f"RESULT {time.process_time() - began} {_memory('VmHWM') - before}")


def _memory(key: str) -> float:
    """MiB of this process: VmRSS now, VmHWM at the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def compare_estimate(folder: Path) -> None:
    """The estimate of one recipe beside what it takes, in this process and with its threads."""
    from points24.harness.cli import main
    from points24.harness.recovery import recover  # noqa: F401

    pair = ["--source", str(folder / "source"), "--target", str(folder / "target"), "--ranks", "top 20%"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["recover", *pair, "--dry-run", "--json"]) == 0
    estimate = json.loads(printed.getvalue())
    before, began = _memory("VmRSS"), time.perf_counter()
    assert main(["recover", *pair, "-o", str(folder / "out")]) == 0
    seconds, peak = time.perf_counter() - began, _memory("VmHWM") - before
    rows = [
        ["seconds", estimate["seconds"], seconds],
        ["MiB at the peak", estimate["memory"] / 2**20, peak],
        [
            "MiB on the disk",
            estimate["disk"] / 2**20,
            (folder / "out/model.safetensors").stat().st_size / 2**20,
        ],
    ]
    print(tabulate(rows, ["", "estimate", "actual"], tablefmt="github", floatfmt=".0f"))


def time_factors() -> None:
    """CPU seconds of the steps for one 3584 x 1024 matrix, the best of three."""
    import torch

    from points24.harness.recovery.spectral.factors import eigen, gram

    matrix = torch.randn(3584, 1024).bfloat16()
    wide = matrix.double()
    squares = wide.T @ wide
    steps = {
        "Gram matrix, torch: product of the whole in fp64": lambda: matrix.double().T @ matrix.double(),
        "Gram matrix, ours": lambda: gram(matrix),
        "torch.linalg.eigh": lambda: torch.linalg.eigh(squares),
        "eigenvalues and every vector, ours": lambda: eigen(squares.clone(), (0, 1024)),
        "eigenvalues and a fifth of the vectors, ours": lambda: eigen(squares.clone(), (0, 205)),
        "eigenvalues alone, ours": lambda: eigen(squares.clone(), (0, 0)),
    }

    def seconds(step: Callable[[], object]) -> float:
        began = time.process_time()
        step()
        return time.process_time() - began

    rows = [[name, min(seconds(step) for _ in range(3))] for name, step in steps.items()]
    print(tabulate(rows, ["step", "CPU s"], tablefmt="github", floatfmt=".3f"))


def in_a_process(*args: str) -> str:
    """What this script prints when it is run with these arguments."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, *args]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(run.stderr)
    return run.stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        print(in_a_process("make", name, "small") + f"shares of ranks: {', '.join(map(str, SHARES))} %\n")
        rows = []
        for count in (1, len(SHARES)):
            printed = [in_a_process("measure", name, method, str(count)) for method in ("ours", "yardstick")]
            (seconds, memory), (their_seconds, their_memory) = (
                map(float, text.split("RESULT")[1].split()) for text in printed
            )
            times, share = their_seconds / seconds, memory / their_memory
            rows.append([count, seconds, their_seconds, times, memory, their_memory, share])
        headers = ["recipes", "CPU s", "yardstick", "times faster", "MiB", "yardstick", "share"]
        formats = ("d", ".1f", ".1f", ".1f", ".0f", ".0f", ".2f")
        print(tabulate(rows, headers, tablefmt="github", floatfmt=formats))


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            main()
        case ["estimate"]:
            with tempfile.TemporaryDirectory() as name:
                print(in_a_process("make", name, "7b"))
                print(in_a_process("compare", name))
        case ["factors"]:
            print(in_a_process("steps"))
        case ["steps"]:
            time_factors()
        case ["make", name, size]:
            make_pair(Path(name), SMALL if size == "small" else TWO_LAYERS_OF_7B)
        case ["compare", name]:
            compare_estimate(Path(name))
        case ["measure", name, method, count]:
            measure(method, Path(name), int(count))
        case _:
            sys.exit(__doc__)
