"""A reproduction of the paper's experiment -> a report: verdicts, tables and figures.

The Markdown is a function of manifest and records alone. The figures need matplotlib (the extra `plots`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from points24.harness.analysis import formats
from points24.harness.analysis.statistics import Interval
from points24.harness.experiment.findings import ABOVE_RULE, Claim, Finding, findings, of_recipe
from points24.harness.experiment.manifest import Manifest, Seed, manifest_of
from points24.harness.experiment.measures import (
    FLEXIBLE,
    STRICT,
    Measure,
    Reproduction,
    Value,
    accuracy,
    plain_hands,
    reproduction_of,
    verdict_share,
)
from points24.harness.files import write_text
from points24.harness.records.record import Record
from points24.leaderboards.render.tables import escape
from points24.tasks.errors import InputError
from points24.tasks.verdict import Verdict

REPORT = "reproduction.md"
FIGURES = "figures"
"""The subfolder for figures."""
OVERVIEW, FORMAT, DRIFT, RECOVERIES = (
    f"reproduction_{name}.svg" for name in ("overview", "format", "drift", "recoveries")
)
_ABOUT = {
    OVERVIEW: "ID accuracy, OOD accuracy and the share of wrong_rule over the SFT steps, with the final "
    "checkpoints of PPO and the recovered ones",
    FORMAT: "strict-match against flexible-extract over the SFT steps",
    DRIFT: "misalignment of singular vectors by tenth of the spectrum, and over the SFT steps",
    RECOVERIES: "OOD and ID accuracy of every recovered checkpoint",
}
_BELONGS = {"0": FORMAT, "2a": DRIFT, "3a": RECOVERIES}
"""The first part of a finding -> the figure that it shows."""
_UNITS = {"points": "points", "percent": "%", "number": ""}
_UNKNOWN, _UNDEFINED = "not measured", "not defined"
_Cell = Callable[[Record | None], Value | None]

_LIMITS = (
    "Seeds vary the fine-tuning, not the base: all runs start from one set of weights, so nothing here "
    "speaks of other bases or sizes.",
    "A small base wins most hands because it was shown them, not because it searches; the held-out column "
    "says how much is left on numbers that no trainer draws. What forgetting, RL and recovery do to "
    "memorised hands need not be what they do to reasoning.",
    "How long PPO runs, and from which checkpoints, is the config's choice. A start from which it gains "
    "nothing might gain with more steps or other rewards.",
    "Every reply is a single attempt; the paper counts up to five with feedback, on 234 deals.",
    "With few seeds the intervals over the seeds are wide. *Inconclusive* is not evidence that there is "
    "no effect.",
    "The best OOD checkpoint is picked by the deals that also measure the losses against it, which flatters "
    "them (the first finding alone is freed of that), and so lowers the shares that come back.",
    "Each verdict stands alone: none is adjusted for the number of findings.",
    "The paper says 70 to 80 % *of the OOD performance*; here that is read as the share of what was lost.",
)


def markdown(found: Reproduction, *, figures: bool = True) -> str:
    """The report.

    Args:
        found: what to report on.
        figures: whether to show them, from `FIGURES` beside the report.
    """
    every = findings(found)

    def shown(name: str) -> list[str]:
        there = figures and name in figure_names(found)
        return [f"![{_ABOUT[name]}]({FIGURES}/{name})"] if there else []

    parts = [
        "# The paper's experiment, again",
        _about(found),
        "\n".join(_summary(each) for each in every),
        *shown(OVERVIEW),
        "## How to read this",
        "\n".join(f"- {line}" for line in _reading(found)),
    ]
    for each in every:
        parts += _section(each, found)
        figure = _BELONGS.get(each.claims[0].label, "")
        parts += shown(figure)
        if figure == RECOVERIES:
            parts += _recipes(found)
    parts += _instrument(found)
    parts += ["## Limits", "\n".join(f"- {line}" for line in _LIMITS)]
    return "\n\n".join(parts) + "\n"


def figure_names(found: Reproduction) -> list[str]:
    """The figures that a reproduction gives."""
    names = [OVERVIEW, FORMAT]
    if found.drift_pairs():
        names.append(DRIFT)
    if any(found.recoveries):
        names.append(RECOVERIES)
    return names


def write_reproduction(manifest: Mapping[str, Any], records: Iterable[Record], folder: Path) -> list[Path]:
    """Write ``reproduction.md`` and, below ``figures/``, its figures; return the paths, the report first.

    Without matplotlib there are no figures, and the report says so.

    Args:
        manifest: as decoded JSON; see `points24.harness.experiment.manifest`.
        records: among others, those that the manifest speaks of.
        folder: where to write.

    Raises:
        InputError: a bad manifest, a missing record, or a file that cannot be written.
    """
    found = reproduction_of(manifest_of(manifest), records)
    try:
        paths, note = write_figures(found, folder), ""
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] != "matplotlib":
            raise
        paths, note = [], "\nFigures need matplotlib: pip install 'points24[plots]'.\n"
    report = folder / REPORT
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(report, markdown(found, figures=not note) + note)
    except OSError as e:
        raise InputError(f"{report}: {e.strerror or e}") from e
    return [report, *paths]


def write_figures(found: Reproduction, folder: Path) -> list[Path]:
    """Write the figures below a report's folder, and return their paths.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        InputError: a file cannot be written.
    """
    from points24.leaderboards.reports.reproduction_plots import write

    return write(found, figure_names(found), folder / FIGURES)


# -- words -----------------------------------------------------------------------------------------------


def _about(found: Reproduction) -> str:
    manifest = found.manifest
    seeds = "one seed" if len(found.seeds) == 1 else f"{len(found.seeds)} seeds"
    starts = ", ".join(f"{name} ({_steps(found, found.seeds[:1], name)})" for name in found.starts)
    ppo = f", PPO on the same rule from SFT checkpoints called {starts}" if starts else ""
    return (
        "Generated from [`reproduction/`](reproduction) by points24; edit neither text nor figures. The "
        "experiment of [arXiv:2508.16546](https://arxiv.org/abs/2508.16546) with the base "
        f"{escape(manifest.base)} and the config {escape(manifest.config)}, {seeds}: SFT on the ID rule "
        f"alone{ppo}, and recovery from the SFT checkpoint that is best on OOD "
        f"({_steps(found, found.seeds, 'best_ood')}) into the final one "
        f"({_steps(found, found.seeds, 'final')}). "
        f"{_took(manifest)} of computing on {escape(manifest.machine)}."
    )


def _took(manifest: Manifest) -> str:
    whole, seeds = sum(manifest.seconds.values()), len(manifest.seeds)
    return duration(whole) if seeds == 1 else f"{duration(whole / seeds)} a seed, {duration(whole)} in all,"


def _steps(found: Reproduction, seeds: Sequence[Seed], part: str) -> str:
    """The step of a part's checkpoint: ``step 20``, or where seeds differ ``steps 20, 30, 20 by seed``."""
    names = [seed.ppo[part].start if part in seed.ppo else getattr(seed, part) for seed in seeds]
    steps = [str(found.get(name, "ood").step) for name in names]
    return f"step {steps[0]}" if len(set(steps)) == 1 else f"steps {', '.join(steps)} by seed"


def _reading(found: Reproduction) -> list[str]:
    over = (
        "There is one seed: every interval is over the deals, and none says anything about another run."
        if len(found.seeds) == 1
        else "In the column of a seed, the interval is over the deals (Tango's for a difference, Fieller's "
        "for a share, Wilson's for an accuracy). The mean over the seeds has two: over the seeds, Student's "
        "t with one degree of freedom less than seeds; and over the deals, of these runs' mean outcomes, by "
        "Student's t as well."
    )
    return [
        "All intervals are at 95 %. " + over,
        ABOVE_RULE,
        "The numbers that decide are in bold. Differences are in percentage points, over the same deals. "
        "The filter is strict-match where no other is named.",
    ]


def _summary(found: Finding) -> str:
    said = [f"**{part.label}** {part.what}: *{part.verdict}* ({_key_figures(part)})" for part in found.claims]
    return f"- {'; '.join(said)}"


def _key_figures(part: Claim) -> str:
    """The first deciding number that is not above 0, else the first; then the caveat."""
    key = next((m for m in part.decides if not m.is_above(0)), part.decides[0])
    caveat = part.caveat if part.caveat and part.caveat.mean is not None else None
    return "; ".join(map(_figure, filter(None, (key, caveat))))


def _figure(found: Measure) -> str:
    if found.mean is None:
        return f"{escape(found.name)}: {_lacking(found)}"
    unit = f" {_UNITS[found.unit]}" if _UNITS[found.unit] else ""
    bounds = _bounds(found.interval, found.unit)
    return f"{escape(found.name)}: {_number(found.mean, found.unit)}{unit}{escape(bounds)}"


def _lacking(found: Measure) -> str:
    is_unbounded = any(value is not None and value.is_unbounded for value in found.values)
    return _UNDEFINED if is_unbounded else _UNKNOWN


def _section(found: Finding, experiment_: Reproduction) -> list[str]:
    lines = [f"## {found.title}", f"The paper ({found.source}): {found.paper}"]
    for part in found.claims:
        lines += [
            f"**{part.label} {part.verdict}.** It holds if {part.rule}.",
            _measures(part, experiment_),
        ]
    return [*lines, found.note] if found.note else lines


def _measures(part: Claim, found: Reproduction) -> str:
    several = len(found.seeds) > 1
    means = ["mean, over seeds", "over deals"] if several else []
    headers = ["", *means, *(f"seed {seed.seed}" for seed in found.seeds)]
    rows = []
    for measure in (*part.decides, *part.context):
        unit = f", {_UNITS[measure.unit]}" if _UNITS[measure.unit] else ""
        name = escape(measure.name) + unit
        row = [f"**{name}**" if measure in part.decides else name]
        if several:
            mean = None if measure.mean is None else Value(measure.mean, measure.over_seeds)
            over_deals = _bounds(measure.over_deals, measure.unit).strip()
            row += [_cell(mean, measure.unit), escape(over_deals)]
        rows.append(row + [_cell(value, measure.unit) for value in measure.values])
    return _table(headers, rows)


def _recipes(found: Reproduction) -> list[str]:
    """A row for every recipe."""
    rows = []
    for label in found.recipes():
        ood, recovered, against_final = of_recipe(found, label)
        rows.append([escape(label), _share(ood), _mean(recovered), _mean(against_final)])
    if not rows:
        return []
    return [
        "Every recipe, the best on OOD first. The order follows the same deals, which flatters the first a "
        "little.",
        _table(["", "OOD, %", "recovered, %", "ID against SFT final, points"], rows),
    ]


def _instrument(found: Reproduction) -> list[str]:
    """What points24 shows besides the paper's accuracies."""

    def played(hand_set: str, name: str = STRICT) -> Callable[[str], Record | None]:
        return lambda model: found.find(model, hand_set, name)

    def wrong_rule(record: Record | None) -> Value | None:
        return verdict_share(record, Verdict.WRONG_RULE)

    scores: dict[str, tuple[Callable[[str], Record | None], _Cell]] = {
        "ID": (played("id"), accuracy),
        "ID, flexible": (played("id", FLEXIBLE), accuracy),
        "held-out": (played("id_heldout"), accuracy),
        "OOD": (played("ood"), accuracy),
        "OOD, flexible": (played("ood", FLEXIBLE), accuracy),
        "OOD wrong\\_rule": (played("ood"), wrong_rule),
    }
    cells: dict[str, tuple[Callable[[str], Record | None], _Cell]] = {
        "face, ID rule": (played("face_id"), accuracy),
        "face, OOD rule": (played("ood"), accuracy),
        "no face, ID rule": (played("id"), plain_hands),
        "no face, OOD rule": (played("plain_ood"), accuracy),
    }
    over = (
        "with Wilson's interval"
        if len(found.seeds) == 1
        else "mean over the seeds with Student's interval, within 0 and 100; for the base, which all share, "
        "Wilson's"
    )
    return [
        "## What this instrument adds",
        f"Final accuracies, in percent ({over}). `wrong_rule`: OOD replies that are right if J, Q and "
        "K count as 10, the memorised rule seen directly. Flexible: the last formula that a reply commits "
        "to, in whatever format.",
        _parts_table(found, scores),
        "The OOD set differs from the ID set in two ways, the rule and a face card in every hand. The four "
        "cells of hands × rule tell them apart: a memorised rule costs the second alone; a prompt that "
        "confuses by itself costs the fourth too, where both rules give the same answers.",
        _parts_table(found, cells),
    ]


def _parts_table(
    found: Reproduction, columns: Mapping[str, tuple[Callable[[str], Record | None], _Cell]]
) -> str:
    rows = []
    for part in found.parts(found.seeds[0]):
        row = [part]
        for record_of, value_of in columns.values():
            measure = found.over_seeds(
                part,
                "percent",
                lambda _, seed, part=part, record_of=record_of, value_of=value_of: value_of(
                    record_of(found.parts(seed)[part])
                ),
                seeds=1 if part == "base" else None,
            )
            row.append(_share(measure))
        rows.append(row)
    return _table(["", *columns], rows)


def _share(measure: Measure) -> str:
    """An accuracy's mean and interval; it can be neither below 0 nor above 1."""
    interval = measure.interval
    bounds = interval and Interval(max(0.0, interval.low), min(1.0, interval.high))
    return "" if measure.mean is None else _cell(Value(measure.mean, bounds), "percent")


def _mean(measure: Measure) -> str:
    if measure.mean is None:
        return _lacking(measure)
    return _cell(Value(measure.mean, measure.interval), measure.unit)


def _cell(value: Value | None, unit: str) -> str:
    if value is None:
        return ""
    if value.is_unbounded:
        return _UNDEFINED
    return escape(_number(value.share, unit) + _bounds(value.interval, unit))


def _bounds(found: Interval | None, unit: str) -> str:
    return "" if found is None else f" [{_number(found.low, unit)}, {_number(found.high, unit)}]"


def _number(share: float, unit: str) -> str:
    if unit == "points":
        return formats.points(share)
    text = f"{share:+.3f}" if unit == "number" else formats.percent(share)
    text = text.replace("-", formats.MINUS)
    return text[1:] if text.strip(f"+{formats.MINUS}0.") == "" and text[0] in f"+{formats.MINUS}" else text


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return tabulate(
        rows,
        headers,
        tablefmt="github",
        disable_numparse=True,
        colalign=["left"] + ["right"] * (len(headers) - 1),
    )


def duration(seconds: float) -> str:
    """``48 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"
