"""``points24 card``: a run as one picture to share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from points24.harness.cli import Command
from points24.tasks.errors import InputError
from points24.tasks.verdict import FILTERS

if TYPE_CHECKING:
    from points24.leaderboards.render.card import Card

_RECORDS = "records"


def _arguments(parser: argparse.ArgumentParser) -> None:
    run = "output_dir of a training run, or of points24 demo or reproduce, whose seed 0 is shown"
    parser.add_argument("folder", metavar="RUN", type=Path, help=run)
    recovered = "output_dir of a sweep of its checkpoints: the card says what it recovers"
    parser.add_argument("--recovered", metavar="DIR", type=Path, help=recovered)
    parser.add_argument("-o", "--output", metavar="FILE.png", type=Path, help="(default: RUN/card.png)")
    parser.add_argument("--filter", choices=FILTERS, default=FILTERS[0], help=f"(default: {FILTERS[0]})")


def _run(args: argparse.Namespace) -> int:
    from points24.leaderboards.figures import missing_package
    from points24.leaderboards.output import writing

    path = args.output or args.folder / "card.png"
    if path.suffix != ".png":
        raise InputError(f"--output: expected a file that ends in .png, found {path}")
    found = card_of(*_stores(args.folder, args.recovered), args.filter)
    if name := missing_package():
        raise InputError(f"{name} is not installed: pip install 'points24[plots]'")
    import matplotlib as mpl

    from points24.leaderboards.render.card import card_figure
    from points24.leaderboards.render.drawing import STYLE

    with mpl.rc_context(STYLE), writing(path) as partial:
        card_figure(found).savefig(partial, format="png", metadata={"Software": None})
    print(path)
    return 0


def _stores(run: Path, recovered: Path | None) -> tuple[Path, Path | None]:
    """The records of a training run, and those of a sweep of its checkpoints."""
    inside, sweep = run / "sft-0" / _RECORDS, run / "sweep-0" / _RECORDS
    if recovered is None and not (run / _RECORDS).is_dir() and inside.is_dir():
        return inside, sweep if sweep.is_dir() else None
    return run / _RECORDS, recovered and recovered / _RECORDS


def card_of(run: Path, sweep: Path | None, filter_name: str) -> Card:
    """What a card of these records shows; of several recoveries, the one into the run's final checkpoint.

    Raises:
        InputError: no records, or not those of one run; a sweep that recovered nothing into its checkpoints.
    """
    from points24.harness.analysis.curve import curve
    from points24.harness.analysis.recovery import recoveries
    from points24.harness.records.store import read_records
    from points24.leaderboards.render.card import Card

    own = read_records(run)
    found = curve(own, filter_name)
    if sweep is None:
        return Card(found, None)
    records = {record.key: record for record in [*own, *read_records(sweep)]}
    final = found.ood[found.final].model
    into = [each for each in recoveries(records.values()) if each.filter == filter_name]
    if not (fitting := [each for each in into if each.target.ood.record.model == final]):
        raise InputError(f"{sweep}: nothing was recovered into {final} under {filter_name}")
    return Card(found, fitting[0])


card = Command("a run as one picture to share: curve, verdicts, what recovery regains", _arguments, _run)
