"""Which figures the records give, by file name. Only drawing them needs matplotlib (the extra `plots`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from points24.harness.analysis.curve import Curve
from points24.harness.analysis.foretelling import Shifts
from points24.harness.analysis.recovery import Recovery
from points24.harness.drift.report import Report
from points24.harness.experiment.measures import Reproduction
from points24.leaderboards.reports import recovery_series
from points24.tasks.errors import InputError

FIGURES = "figures"
"""The subfolder of a report that holds its figures."""
CONTRAST = "contrast"
"""The figure of several reproductions."""
OVERVIEW, DRIFT, FRONT, RECOVERIES, SHIFT = "overview", "drift", "recipes_front", "recoveries", "shift"
WEIGHTS = "weights"
"""The figure of a folder of `points24 drift`."""
_NEEDED = ("matplotlib", "adjustText")


class Plot(NamedTuple):
    """A figure to draw."""

    kind: str
    """``curve``; ``ranks``, ``layers`` or ``front`` of a recovery; one of the above of a reproduction."""
    of: Curve | Recovery | Reproduction | Sequence[Reproduction] | Shifts | Report


def curve_figures(curves: Iterable[Curve]) -> dict[str, Plot]:
    """File name -> figure, one for each curve."""
    return {file_stem(f"curve {name_of(found)}") + ".svg": Plot("curve", found) for found in curves}


def recovery_figures(recoveries: Sequence[Recovery]) -> list[dict[str, Plot]]:
    """For each recovery: file name -> figure; those of ranks, layers and front that have enough points."""
    stems = [file_stem(f"recovery {r.target.name} from {r.source.name} {r.filter}") for r in recoveries]
    names = []
    for number, stem in enumerate(stems):  # pairs of another protocol, or whose names read the same
        again = stems.count(stem) > 1
        names.append(f"{stem}_{stems[:number].count(stem) + 1}" if again else stem)
    return [
        {f"{name}_{kind}.svg": Plot(kind, found) for kind in recovery_series.kinds(found)}
        for name, found in zip(names, recoveries, strict=True)
    ]


def reproduction_figures(name: str, found: Reproduction) -> dict[str, Plot]:
    """File name -> figure: without drift or recovered checkpoints there are fewer."""
    kinds = [OVERVIEW]
    if found.drift_pairs():
        kinds.append(DRIFT)
    if any(found.recoveries):
        kinds += [FRONT, RECOVERIES]
    if found.shifts.runs:
        kinds.append(SHIFT)
    return {f"{name}_{kind}.svg": Plot(kind, found) for kind in kinds}


def contrast_figures(found: Sequence[Reproduction]) -> dict[str, Plot]:
    """File name -> figure of those with several seeds; none where there is nothing to contrast."""
    several = [each for each in found if len(each.seeds) > 1]
    return {f"{CONTRAST}.svg": Plot(CONTRAST, several)} if len(several) > 1 else {}


def name_of(found: Curve) -> str:
    """``nano-sft SFT strict-match``."""
    return " ".join(filter(None, (found.run, found.stage, found.filter)))


def file_stem(name: str) -> str:
    """A name as that of a file, without an ending."""
    return re.sub(r"\W+", "_", name)


def missing_package() -> str | None:
    """What must be installed before a figure can be drawn; None if nothing."""
    return next((name for name in _NEEDED if find_spec(name) is None), None)


def write_figures(plots: Mapping[Path, Plot]) -> list[Path]:
    """Draw figures as SVG, each file as a whole, and return their paths.

    Raises:
        InputError: matplotlib is not installed, or a file cannot be written.
    """
    if name := missing_package():
        raise InputError(f"{name} is not installed: pip install 'points24[plots]'")
    from points24.leaderboards.render.curves import curve_figure
    from points24.leaderboards.render.drawing import save
    from points24.leaderboards.reports import drift_plots, recovery_plots, reproduction_plots, shift_plots

    draw = {"curve": curve_figure, SHIFT: shift_plots.draw, WEIGHTS: drift_plots.draw}
    draw |= recovery_plots.DRAW | reproduction_plots.DRAW
    for path, plot in plots.items():
        save(draw[plot.kind], plot.of, path)
    return list(plots)
