"""``points24 drift``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from points24.harness.cli import Command
from points24.harness.records.provenance import command_line, versions
from points24.harness.recovery.arguments import add_shared, device_of


def _drift_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", help="a folder or a hub id")
    parser.add_argument("others", nargs="+", help="one or more to compare with it; several are a trajectory")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the folder to make")
    add_shared(parser)


def _drift(args: argparse.Namespace) -> int:
    from points24.harness.checkpoints.locate import locate
    from points24.harness.checkpoints.opening import open_checkpoint
    from points24.harness.drift.drift import drift
    from points24.harness.drift.report import Report, short_names, write_report
    from points24.harness.files import new_folder
    from points24.harness.recovery.families.table import family_of
    from points24.harness.recovery.plan import check_pair

    device = device_of(args.device)
    first, *others = (open_checkpoint(locate(name)) for name in (args.first, *args.others))
    family = family_of(first.config, args.layer_prefix, args.split)
    others = [check_pair(other, first, family) for other in others]
    for checkpoint in (first, *others):
        checkpoint.verify()
    names = short_names([args.first, *args.others])
    with new_folder(args.output) as partial:
        rows, curves = drift(first, others, family, device)
        write_report(
            partial, Report(names, rows, curves), {"command": command_line(), "versions": versions()}
        )
        text = (partial / "drift.md").read_text()
    print(json.dumps({"folder": str(args.output), "matrices": rows}) if args.json else args.output)
    print(text, file=sys.stderr)
    return 0


drift = Command("how far, and where, checkpoints have moved from a first one", _drift_arguments, _drift)
