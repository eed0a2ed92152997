"""Spectral recovery against the usual way, on Llama-shaped pairs of about 50 million parameters.

    python -m tests.benchmarks.spectral             a few minutes: three layers of 1024 x 1024 and 3584 x 1024
    python -m tests.benchmarks.spectral large       the same of one layer of 2048 x 2048 and 4096 x 2048
    python -m tests.benchmarks.spectral factors     the steps of a factorisation beside what torch offers
    python -m tests.benchmarks.spectral splice      the top 20 % and all ranks, beside the machine's peak

The yardstick loads both models whole. For every recipe it takes two full fp32 SVDs of every matrix inside the
layers, replaces the target's leading singular vectors by the source's, multiplies out and saves. Each row is
measured in a process of its own with one thread, because threads that wait for each other would count as
work. CPU seconds exclude the imports; memory is the peak of the resident set (VmHWM) above its size after the
imports. getrusage would not do: under Linux its peak is never below that of the parent process. Prints a
Markdown table.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tabulate import tabulate

from tests.benchmarks.table import Row, exponent, memory

SHARES = (5, 10, 15, 20, 25, 30, 40, 50, 60, 80)
HEADS = {"vocab_size": 4096, "num_attention_heads": 16, "num_key_value_heads": 4}
SHAPES: dict[str, dict[str, Any]] = {
    "": {"hidden_size": 1024, "intermediate_size": 3584, "num_hidden_layers": 3},  # Llama 3's proportions
    "large": {"hidden_size": 2048, "intermediate_size": 4096, "num_hidden_layers": 1},
}


def make_pair(folder: Path, size: str) -> None:
    """Two bf16 checkpoints: `source` has random weights, `target` the same with a perturbation of a tenth."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    model = LlamaForCausalLM(LlamaConfig(**HEADS, **SHAPES[size]))
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
    import torch  # noqa: F401 — imported before the clock starts
    import transformers.models.llama.modeling_llama  # noqa: F401 — likewise

    from points24.harness.recovery import recover  # noqa: F401 — likewise

    shares = SHARES if count > 1 else (20,)
    before, began = memory("VmRSS"), time.process_time()
    {"ours": ours, "yardstick": yardstick}[method](folder, shares)
    print(f"RESULT {time.process_time() - began} {(memory('VmHWM') - before) / 2**20}")


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


def time_splice() -> None:
    """GFlop/s in fp64 of one pair's splice, as a share of a large product's, the best of three.

    Counted are the products that the method as written needs: B q_i and T v_i for k ranks, and their way back,
    8 rows q k. All ranks are folded into square matrices first, which saves half of it; unfolded stands for the
    same code with every rank on its own.
    """
    import torch

    from points24.harness.recovery.specs import Cut
    from points24.harness.recovery.spectral.factors import factorise, row_chunks
    from points24.harness.recovery.spectral.splice import Factored, splice

    def best(step: Callable[[], object]) -> float:
        times = []
        for _ in range(3):
            began = time.process_time()
            step()
            times.append(time.process_time() - began)
        return min(times)

    square = torch.randn(2048, 2048, dtype=torch.float64)
    peak = 2 * 2048**3 / best(lambda: square @ square) / 1e9
    rows = []
    for height, q in ((2048, 2048), (4096, 2048), (8192, 2048)):
        b = torch.randn(height, q).bfloat16()
        t = (b.float() + 0.1 * torch.randn(height, q)).bfloat16()
        pair = Factored(b, factorise(b)), Factored(t, factorise(t))
        factors = best(lambda b=b, q=q: factorise(b, (0, round(q / 5))))

        def unfolded(pair: tuple[Factored, Factored] = pair) -> None:
            (b, fb), (t, ft) = pair
            for (_, ours), (_, theirs) in zip(row_chunks(b), row_chunks(t), strict=True):
                edit = (ours @ fb.vectors).mul_(ft.values / fb.values) @ fb.vectors.T
                edit.sub_((theirs @ ft.vectors) @ ft.vectors.T).add_(theirs).bfloat16()

        for k in (round(q / 5), q):
            cut = [Cut("directions", ((0, k),))]
            seconds = best(lambda cut=cut, pair=pair: splice(*pair, cut, torch.bfloat16, lambda *_: None))
            rate = 8 * height * q * k / seconds / 1e9
            one_by_one = best(unfolded) if k == q else None
            rows.append([f"{height} x {q}", k, seconds, rate, rate / peak, one_by_one, 2 * factors])
    print(f"one thread; a product of 2048 x 2048 in fp64: {peak:.1f} GFlop/s\n")
    headers = [
        "pair",
        "ranks",
        "splice, CPU s",
        "GFlop/s",
        "of the peak",
        "unfolded, s",
        "two factorisations, s",
    ]
    print(tabulate(rows, headers, "github", floatfmt=("", "d", ".3f", ".1f", ".2f", ".3f", ".3f")))


def in_a_process(*args: str) -> str:
    """What this script prints when it is run with these arguments."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.benchmarks.spectral", *args]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(run.stderr)
    return run.stdout


def compared(folder: str, count: int) -> tuple[list[float], list[float]]:
    """CPU seconds and MiB of so many recipes, ours and the yardstick's."""
    ours, theirs = (
        in_a_process("measure", folder, method, str(count)).split("RESULT")[1].split()
        for method in ("ours", "yardstick")
    )
    return list(map(float, ours)), list(map(float, theirs))


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        in_a_process("make", name, "")
        measured = {count: compared(name, count) for count in (1, len(SHARES))}

    def by_width(width: int) -> float:
        import torch

        from points24.harness.recovery.spectral.factors import factorise

        matrix = torch.randn(2 * width, width).bfloat16()
        factorise(matrix)
        began = time.process_time()
        factorise(matrix)
        return time.process_time() - began

    growth = exponent([256, 512, 1024, 2048], by_width)
    for count, (ours, theirs) in measured.items():
        what = "recover, one recipe" if count == 1 else f"recover, {count} recipes"
        yield Row(
            what, ours[0], "two SVDs a matrix and recipe", theirs[0], "CPU s", "width, a matrix", growth
        )
        yield Row(f"{what}: memory", ours[1], "two models in memory", theirs[1], "MiB")


def main(size: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        print(in_a_process("make", name, size) + f"shares of ranks: {', '.join(map(str, SHARES))} %\n")
        lines = []
        for count in (1, len(SHARES)):
            (seconds, memory), (their_seconds, their_memory) = compared(name, count)
            times, share = their_seconds / seconds, memory / their_memory
            lines.append([count, seconds, their_seconds, times, memory, their_memory, share])
        headers = ["recipes", "CPU s", "yardstick", "times faster", "MiB", "yardstick", "share"]
        formats = ("d", ".1f", ".1f", ".1f", ".0f", ".0f", ".2f")
        print(tabulate(lines, headers, tablefmt="github", floatfmt=formats))


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            main("")
        case ["large"]:
            main("large")
        case ["factors"]:
            print(in_a_process("steps"))
        case ["steps"]:
            time_factors()
        case ["splice"]:
            print(in_a_process("splices"))
        case ["splices"]:
            time_splice()
        case ["make", name, size]:
            make_pair(Path(name), size)
        case ["measure", name, method, count]:
            measure(method, Path(name), int(count))
        case _:
            sys.exit(__doc__)
