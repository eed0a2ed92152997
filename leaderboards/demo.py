"""``points24 demo``: score the shipped nano model through lm-eval, and show the table."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tabulate import tabulate

from points24.harness.cli import Command
from points24.harness.models import model_folder
from points24.harness.records import FILTERS
from points24.tasks.verdict import Verdict

TASKS = ("points24_id", "points24_ood")


def lm_eval_command(pretrained: str, output: str, device: str) -> list[str]:
    """The arguments of plain lm-eval that the demo runs."""
    # float32: rounding to bfloat16 changes some of a small model's greedy replies.
    return [
        *("--model", "hf", "--model_args", f"pretrained={pretrained},dtype=float32"),
        *("--tasks", ",".join(TASKS), "--batch_size", "64", "--device", device),
        *("--output_path", output, "--log_samples"),
    ]


def results_table(results: dict[str, Any]) -> str:
    """The table of an lm-eval results file: accuracy with Wilson's 95 % interval, and verdict shares."""
    from points24.harness.statistics import wilson

    others = [v.value for v in Verdict if v is not Verdict.CORRECT]
    rows = []
    for task in TASKS:
        n = results["n-samples"][task]["effective"]
        for name in FILTERS:
            share = {
                metric.removesuffix(f",{name}"): value
                for metric, value in results["results"][task].items()
                if metric.endswith(f",{name}")
            }
            low, high = wilson(round(share["acc"] * n), n)
            rows.append(
                [task, name, n, f"{share['acc']:.1%}", f"{low:.1%} – {high:.1%}"]
                + [f"{share['acc_weighted']:.1%}"]
                + [f"{share[other]:.1%}" for other in others]
                + [f"{share['truncated']:.1%}"]
            )
    headers = ["task", "filter", "deals", "acc", "95 % interval", "acc_weighted", *others, "truncated"]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True, stralign="right")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pretrained", help="a model of yours: a folder or a hub id (default: nano-base)")
    parser.add_argument("--device", default="cpu", help="as in lm-eval (default: cpu)")


def _demo(args: argparse.Namespace) -> int:
    pretrained = args.pretrained or str(model_folder("nano-base"))
    with tempfile.TemporaryDirectory(prefix="points24-demo-") as output:
        arguments = lm_eval_command(pretrained, output, args.device)
        print(f"$ lm_eval {shlex.join(arguments)}", file=sys.stderr)
        run = subprocess.run(
            [sys.executable, "-m", "lm_eval", *arguments],
            stdout=subprocess.DEVNULL,  # lm-eval's own table; ours follows
            env=os.environ | {"TOKENIZERS_PARALLELISM": "false"},
            check=False,
        )
        if run.returncode:
            print(f"points24: lm_eval failed with exit status {run.returncode}; see above", file=sys.stderr)
            return 1
        (results,) = Path(output).rglob("results_*.json")
        print(results_table(json.loads(results.read_text("utf-8"))))
    return 0


demo = Command("score the nano base model on points24_id and points24_ood", _arguments, _demo)
