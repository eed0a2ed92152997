"""Flags that several commands share, and what they mean."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from points24.harness.config import read_settings
from points24.harness.executors.workers import EXECUTORS, Workers
from points24.tasks.errors import InputError

if TYPE_CHECKING:
    import torch


def add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute (fp64)"
    )
    parser.add_argument(
        "--layer-prefix",
        metavar="REGEX",
        help=r"what precedes a layer's number, for families not known here: 'transformer\.blocks\.'",
    )
    parser.add_argument(
        "--split",
        action="append",
        default=[],
        metavar="NAME=LAYOUT",
        help="what tensors hold whose names end so: Wqkv=qkv, wte=none; may be given several times",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")


def add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--executor", choices=EXECUTORS, default="local", help="where layers are done")
    parser.add_argument("--workers", type=int, default=1, help="processes side by side (default: 1)")
    parser.add_argument(
        "--executor-args",
        nargs="+",
        default=(),
        metavar="KEY=VALUE",
        help="submitit's (slurm_partition=…, timeout_min=…) or options of Ray's tasks (num_gpus=…)",
    )


def workers_of(args: argparse.Namespace) -> Workers:
    """Raises: InputError: no such workers."""
    return Workers(args.executor, args.workers, read_settings(None, args.executor_args))


def device_of(name: str) -> torch.device:
    """The device that ``--device`` names; auto is CUDA where there is any.

    Raises:
        InputError: CUDA is asked for and not there.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda': there is none here; allowed: auto, cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
