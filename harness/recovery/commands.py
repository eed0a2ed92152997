"""``points24 recover``."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from points24.harness.cli import Command
from points24.harness.records.provenance import command_line, versions
from points24.tasks.errors import InputError

if TYPE_CHECKING:
    import torch

    from points24.harness.recovery.architecture import Family
    from points24.harness.recovery.plan import Recipe

DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "float64": "F64"}


def shared_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute (fp64)"
    )
    parser.add_argument(
        "--layer-prefix",
        metavar="REGEX",
        help=r"what precedes the number of a layer, for models not known here: 'transformer\.blocks\.'",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")


def device_of(name: str) -> torch.device:
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda': there is none here; allowed: auto, cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


# -- recover -----------------------------------------------------------------------------------------------


def _recover_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source", required=True, help="the checkpoint to restore from: a folder or a hub id"
    )
    parser.add_argument("--target", required=True, help="the checkpoint to repair: a folder or a hub id")
    parser.add_argument(
        "-o", "--output", type=Path, help="the folder to make (several recipes: one below it each)"
    )
    parser.add_argument(
        "--method", default="spectral", choices=("spectral", "reset", "interpolate", "task-arithmetic")
    )
    several = "; may be given several times"
    parser.add_argument(
        "--restore",
        action="append",
        choices=("directions", "values", "both"),
        help="default: directions" + several,
    )
    parser.add_argument(
        "--ranks",
        action="append",
        help="'top 20%%', 'tail 5%%', 'top 20%% + tail 5%%', 'top 128', all" + several,
    )
    parser.add_argument(
        "--layers", action="append", help="'first 25%%', 'last 4', 0-6, all (default)" + several
    )
    parser.add_argument("--modules", help="q_proj,k_proj,...; default: every matrix inside the layers")
    parser.add_argument("--taper", help="ranks over which a cut is spread, such as 5%% or 16")
    parser.add_argument(
        "--weight",
        type=float,
        action="append",
        help="of the source, for interpolate and task-arithmetic" + several,
    )
    parser.add_argument("--base", help="the source's ancestor, for task-arithmetic")
    parser.add_argument("--compat", action="store_true", help="what the paper's scripts do, flaws included")
    parser.add_argument("--dtype", choices=tuple(DTYPES), help="of the output; default: the target's")
    parser.add_argument("--dry-run", action="store_true", help="say what would change and what it would cost")
    shared_arguments(parser)


def _recipes(args: argparse.Namespace) -> list[Recipe]:
    """Every combination of what was given."""
    from points24.harness.recovery.plan import recipes_of

    if args.base and args.method != "task-arithmetic":
        raise InputError(f"base does not go with method {args.method}")
    if args.method == "task-arithmetic" and not args.base:
        raise InputError("base is missing: the source's ancestor")
    return recipes_of(
        method=args.method,
        restore=args.restore or (),
        ranks=args.ranks or (),
        layers=args.layers or (),
        modules=() if args.modules is None else (args.modules,),
        taper=() if args.taper is None else (args.taper,),
        weight=args.weight or (),
        compat=args.compat,
    )


def _recover(args: argparse.Namespace) -> int:
    recipes = _recipes(args)

    from points24.harness.checkpoints.read import locate, read_config
    from points24.harness.recovery.architecture import family_of
    from points24.harness.recovery.card import findings
    from points24.harness.recovery.recover import CheckedPair, recover

    device = device_of(args.device)
    source, target = locate(args.source), locate(args.target)
    family = family_of(read_config(target), args.layer_prefix)
    if args.dry_run:
        return _dry_run(args, (source, target), family, recipes, device)
    if args.output is None:
        raise InputError("-o is missing: the folder to make")
    out: Path = args.output
    if out.exists():
        raise InputError(f"{out} exists; choose another output folder")
    job = CheckedPair.open(source, target, recipes, family, locate(args.base) if args.base else None)
    record = {
        "source": args.source,
        "target": args.target,
        "base": args.base,
        "dtype": args.dtype,
        "command": command_line(),
        "versions": versions(),
        "device": device.type,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    reports = recover(job, out, record, DTYPES.get(args.dtype), device)
    for recipe, report in zip(recipes, reports, strict=True):
        folder = out if len(recipes) == 1 else out / recipe.name
        if args.json:
            print(json.dumps({"folder": str(folder)} | report))
        else:
            print(folder)
            print(*(f"  {line}" for line in findings(report)), sep="\n", file=sys.stderr)
    return 0


def _dry_run(
    args: argparse.Namespace,
    pair: tuple[Path, Path],
    family: Family,
    recipes: list[Recipe],
    device: torch.device,
) -> int:
    from points24.harness.checkpoints.read import FLOATS, open_checkpoint
    from points24.harness.recovery.architecture import text_config
    from points24.harness.recovery.estimate import as_text, checkpoint_from_config, estimate, probe
    from points24.harness.recovery.plan import check_pair, make_plan

    theirs, ours = (
        open_checkpoint(f) if any(f.glob("*.safetensors*")) else checkpoint_from_config(f) for f in pair
    )
    check_pair(theirs, ours, family)
    plan = make_plan(theirs.tensors, ours, family, text_config(ours.config), recipes)
    itemsize = FLOATS[DTYPES[args.dtype]].itemsize if args.dtype else None
    cost = estimate(plan, ours, probe(device), itemsize)
    matrices = sum(len(parts) for parts in plan.matrices.values())
    if args.json:
        changed = {"matrices": matrices, "tensors": [*plan.matrices, *plan.whole], "skipped": plan.skipped}
        print(json.dumps({"recipes": [r.describe() for r in recipes]} | changed | cost._asdict()))
        return 0
    print(f"{len(recipes)} recipes: {', '.join(r.name for r in recipes)}")
    print(f"{matrices} matrices spliced, {len(plan.whole)} tensors replaced, {len(plan.skipped)} kept")
    print(", ".join(f"{key} {value}" for key, value in as_text(cost).items()), f"({device.type})")
    return 0


recover = Command("restore a checkpoint's singular directions in another one", _recover_arguments, _recover)
