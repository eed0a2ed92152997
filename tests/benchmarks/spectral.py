"""Spectral recovery against the usual way, on a Llama-shaped pair of about 50 million parameters.

    python tests/benchmarks/spectral.py

The yardstick loads both models whole and, for every recipe, takes two full fp32 SVDs of every matrix inside
the layers, puts the source's leading singular vectors into the target's, multiplies out and saves. Each row
is a process of its own; CPU seconds count all its threads, imports excluded; memory is the peak of the
resident set above what it was after the imports. Prints a Markdown table.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tabulate import tabulate

SHARES = (5, 10, 15, 20, 25, 30, 40, 50, 60, 80)


def make_pair(folder: Path) -> None:
    """The proportions of Llama 3. Two bf16 checkpoints: `source` has random weights, `target` the same with a perturbation of a tenth."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096, hidden_size=1024, intermediate_size=3584, num_hidden_layers=3,
        num_attention_heads=16, num_key_value_heads=4,
    )  # fmt: skip
    model = LlamaForCausalLM(config).bfloat16()
    model.save_pretrained(folder / "source")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * 0.02 * torch.randn_like(parameter))
    model.save_pretrained(folder / "target")
    print(f"{model.num_parameters() / 1e6:.1f} M parameters, bf16, shares of ranks: {SHARES} %\n")


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

    from points24.harness.spectral import recover  # noqa: F401

    shares = SHARES if count > 1 else (20,)
    before, began = _resident(), time.process_time()
    {"ours": ours, "yardstick": yardstick}[method](folder, shares)
    seconds = time.process_time() - began
    print(f"RESULT {seconds} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before}")


def _resident() -> float:
    """MiB in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pair(folder)
        rows = []
        for count in (1, len(SHARES)):
            results = {}
            for method in ("ours", "yardstick"):
                run = subprocess.run(
                    [sys.executable, __file__, method, name, str(count)],
                    env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=True,
                )  # fmt: skip
                results[method] = [float(x) for x in run.stdout.split("RESULT")[1].split()]
            (seconds, memory), (their_seconds, their_memory) = results["ours"], results["yardstick"]
            rows.append(
                [
                    count,
                    seconds,
                    their_seconds,
                    their_seconds / seconds,
                    memory,
                    their_memory,
                    memory / their_memory,
                ]
            )
        headers = ["recipes", "CPU s", "yardstick", "times faster", "MiB", "yardstick", "share"]
        print(
            tabulate(
                rows, headers, tablefmt="github", floatfmt=("d", ".1f", ".1f", ".1f", ".0f", ".0f", ".2f")
            )
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
