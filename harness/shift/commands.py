"""``points24 shift``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from points24.harness.cli import Command
from points24.tasks.errors import InputError

DTYPES = ("auto", "float32", "bfloat16", "float16")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "base", metavar="BASE", help="what the checkpoints started from: a folder or a hub id"
    )
    parser.add_argument("checkpoints", nargs="+", metavar="CKPT", help="folders or hub ids")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR",
        help="results are kept here; the same command again goes on",
    )  # fmt: skip
    parser.add_argument("--tasks", default="points24_id,points24_ood", help="as in lm-eval, without groups")
    parser.add_argument("--memorised", default="id", metavar="RULE", help="the rule of the training (id)")
    parser.add_argument("--limit", type=int, help="as in lm-eval: only the first deals of each task")
    parser.add_argument("--template", metavar="FILE", help="a prompt template in place of the built-in one")
    parser.add_argument("--apply_chat_template", action="store_true", help="as in lm-eval")
    parser.add_argument("--dtype", choices=DTYPES, default="auto", help="of the weights (auto: as stored)")
    parser.add_argument("--batch_size", type=int, default=64, help="replies per forward pass (64)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--device_map", help="as in transformers, for models over several GPUs: auto, …")
    parser.add_argument(
        "--sample_tokens", type=int, default=128, metavar="N",
        help="where the base's own samples are cut off (128)",
    )  # fmt: skip
    parser.add_argument(
        "--drift", type=Path, action="append", default=[], metavar="drift.json",
        help="what points24 drift has measured on the weights; may be given several times",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object per checkpoint and task")


def _run(args: argparse.Namespace) -> int:
    from points24.harness.checkpoints.locate import locate
    from points24.harness.shift.inquiry import Inquiry, ShiftConfig
    from points24.harness.shift.report import finish
    from points24.harness.shift.shift import Shift
    from points24.harness.shift.weights import weights_of

    names = ("memorised", "template", "apply_chat_template", "limit", "dtype", "batch_size")
    names += ("device", "device_map", "sample_tokens")
    config = ShiftConfig(tasks=tuple(args.tasks.split(",")), **{name: getattr(args, name) for name in names})
    weights = weights_of(args.drift)
    base = locate(args.base)
    found, failed = [], {}
    for name in dict.fromkeys(args.checkpoints):
        try:
            found.append((name, locate(name)))
        except InputError as e:
            failed[name] = str(e)
    outcome = Shift(Inquiry(base, config), args.output).run(found)
    failed |= outcome.failed
    print(finish(outcome.records, [folder for _, folder in found], weights, args.output, as_json=args.json))
    for name, why in sorted(failed.items()):
        print(f"points24: {name} failed: {why}", file=sys.stderr)
    if failed:
        count = f"{len(failed)} of {len(args.checkpoints)} checkpoints failed"
        print(f"points24: {count}; the same command tries them again", file=sys.stderr)
    return 1 if failed else 0


shift = Command(
    "what training did to what the model believes, and what foretells it", _arguments, _run, goes_on=True
)
