"""``points24 recover``."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime, timezone
from pathlib import Path

from points24.harness.cli import Command
from points24.harness.records.provenance import command_line, versions
from points24.harness.recovery.arguments import add_shared, add_workers, device_of, workers_of
from points24.harness.recovery.methods import DEFAULT, all_settings, methods
from points24.harness.recovery.recipe import Recipe, check_needs, recipes_of
from points24.tasks.errors import InputError

DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "float64": "F64"}


def _recover_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source", required=True, help="the checkpoint to restore from: a folder or a hub id"
    )
    parser.add_argument("--target", required=True, help="the checkpoint to recover: a folder or a hub id")
    parser.add_argument(
        "-o", "--output", type=Path, help="the folder to make (several recipes: one below it each)"
    )
    known = methods()
    parser.add_argument("--method", default=DEFAULT, choices=tuple(known))
    parser.add_argument(
        "--paper-scripts", action="store_const", dest="method", const="paper-scripts",
        help="--method paper-scripts: what the paper's scripts do, in fp16",
    )  # fmt: skip
    several = "; may be given several times"
    parser.add_argument(
        "--layers", action="append", help="'first 25%%', 'last 4', 0-6, all (default)" + several
    )
    for name, setting in all_settings().items():
        users = ", ".join(method for method, kind in known.items() if name in kind.settings())
        is_switch = setting.kinds is bool
        about = f"{users}: {setting.help}{'' if is_switch else several}".replace("%", "%%")
        action = "store_true" if is_switch else "append"
        parser.add_argument(f"--{name.replace('_', '-')}", action=action, help=about)
    needy = ", ".join(method for method, kind in known.items() if kind.needs_base)
    parser.add_argument("--base", help=f"{needy}: the ancestor of source and target")
    needy = ", ".join(method for method, kind in known.items() if kind.needs_others)
    parser.add_argument(
        "--others", action="append", default=[], help=f"{needy}: one more checkpoint{several}"
    )
    parser.add_argument("--dtype", choices=tuple(DTYPES), help="of the output; default: the target's")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would change and the bytes it takes"
    )
    add_workers(parser)
    add_shared(parser)


def _recipes(args: argparse.Namespace) -> list[Recipe]:
    """Every combination of what was given."""
    kind = methods()[args.method]
    for name, is_needed in (("base", kind.needs_base), ("others", kind.needs_others)):
        if getattr(args, name) and not is_needed:
            raise InputError(f"{name} does not go with method {args.method}")
    if args.dtype and kind.dtype:
        raise InputError(f"dtype does not go with method {args.method}, which writes {kind.dtype}")
    given = {name: getattr(args, name) for name in all_settings()}
    recipes = recipes_of(method=args.method, layers=args.layers or (), **given)
    check_needs(recipes, args.base, args.others)
    return recipes


def _recover(args: argparse.Namespace) -> int:
    recipes = _recipes(args)

    from points24.harness.checkpoints.locate import locate
    from points24.harness.checkpoints.opening import read_config
    from points24.harness.recovery.card import findings
    from points24.harness.recovery.layers import recover
    from points24.harness.recovery.plan import family_for
    from points24.harness.recovery.recover import CheckedPair
    from points24.harness.recovery.unfinished import UnfinishedError, check_new

    device, workers = device_of(args.device), workers_of(args)
    source, target = locate(args.source), locate(args.target)
    family = family_for(read_config(target), args.layer_prefix, recipes, args.split)
    if args.dry_run:
        return _dry_run(args, source, target, recipes)
    if args.output is None:
        raise InputError("-o is missing: the folder to make")
    out: Path = args.output
    check_new(out)
    base, others = locate(args.base) if args.base else None, [locate(name) for name in args.others]
    pair = CheckedPair.open(source, target, recipes, family, base, others=others)
    record = {
        "source": args.source,
        "target": args.target,
        "base": args.base,
        "others": args.others,
        "dtype": args.dtype,
        "command": command_line(),
        "versions": versions(),
        "device": device.type,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    try:
        reports = recover(pair, out, record, dtype=DTYPES.get(args.dtype), device=device, workers=workers)
    except UnfinishedError as e:
        print(f"points24: {e}; the same command goes on with them", file=sys.stderr)
        return 1
    for recipe, report in zip(recipes, reports, strict=True):
        folder = out if len(recipes) == 1 else out / recipe.name
        if args.json:
            print(json.dumps({"folder": str(folder)} | report))
        else:
            print(folder)
            print(*(f"  {line}" for line in findings(report)), sep="\n", file=sys.stderr)
    return 0


def _dry_run(args: argparse.Namespace, source: Path, target: Path, recipes: list[Recipe]) -> int:
    """The plan, from the headers of the weights, or from config.json where there are no weights yet."""
    from points24.harness.checkpoints.opening import read_config
    from points24.harness.checkpoints.read import FLOATS
    from points24.harness.recovery.estimate import estimate, plan_by_shapes
    from points24.harness.recovery.plan import family_for

    family = family_for(read_config(target), args.layer_prefix, recipes, args.split)
    plan, ours = plan_by_shapes(source, target, family, recipes)
    dtype = recipes[0].method.dtype or DTYPES.get(args.dtype)
    cost = estimate(plan, ours, FLOATS[dtype].itemsize if dtype else None)
    if args.json:
        changed = {"tensors": [*plan.matrices, *plan.whole], "skipped": plan.skipped}
        described = [recipe.describe() for recipe in recipes]
        print(json.dumps({"recipes": described, "matrices": cost.matrices, "disk": cost.disk} | changed))
        return 0
    print(f"{len(recipes)} recipes: {', '.join(recipe.name for recipe in recipes)}")
    print(f"{cost.matrices} matrices spliced, {cost.tensors} tensors replaced, {cost.kept} kept")
    print(f"weights on disk: {cost.disk / 2**30:.2f} GiB")
    return 0


recover = Command(
    "restore a checkpoint's singular directions in another one", _recover_arguments, _recover, goes_on=True
)
