"""A leaderboard folder -> its generated files: written, or compared with what is there.

Inputs are ``records/*.jsonl`` and ``reproduction/<name>/{manifest.json,*.jsonl}``; either may be missing. All
outputs lie in ``generated/``, and what else lies there under their endings is taken away.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from points24.harness.analysis.curve import Curve
from points24.harness.analysis.recovery import Recovery, recoveries
from points24.harness.experiment.config import TRAININGS
from points24.harness.experiment.manifest import MANIFEST, read_manifest, read_shifts
from points24.harness.experiment.measures import Reproduction, reproduction_of
from points24.harness.records.store import LOCK, read_records
from points24.leaderboards import figures
from points24.leaderboards.aggregate import Table, curves, tables
from points24.leaderboards.figures import FIGURES, Plot
from points24.leaderboards.output import writing
from points24.leaderboards.paper import PaperTable, paper_tables
from points24.leaderboards.render import paper
from points24.leaderboards.render.page import page
from points24.leaderboards.render.readme import Link, readme
from points24.leaderboards.render.tables import TABLES, table_csv, table_latex
from points24.leaderboards.reports import recovery, reproduction
from points24.tasks.errors import InputError

RECORDS, REPRODUCTION, GENERATED = "records", "reproduction", "generated"
README, PAGE = "README.md", "index.html"
_OWN = ("*.md", "*.html", f"{TABLES}/*", f"{FIGURES}/*.svg", "**/*.partial")
"""What belongs to `build` in its folder."""


class Contents(NamedTuple):
    """What a leaderboard folder holds."""

    tables: list[Table]
    of_paper: list[PaperTable]
    """The paper's protocol, reported beside measured."""
    curves: list[Curve]
    recoveries: list[Recovery]
    reproductions: dict[str, Reproduction]
    """By the name of their folder."""
    trainings: dict[str, dict[str, Reproduction]]
    """Likewise: those that a reproduction is compared with, by the name of theirs."""
    warnings: list[str]
    """Why a training run has no curve."""


def contents(home: Path) -> Contents:
    """Read a leaderboard folder.

    Raises:
        InputError: no records, a bad one, a bad manifest, or a record missing that it speaks of.
    """
    found = read_records(home / RECORDS) if (home / RECORDS).is_dir() else []
    made = _reproductions(home / REPRODUCTION)
    others = {name: _reproductions(home / REPRODUCTION / name / TRAININGS) for name in made}
    if not found and not made:
        raise InputError(
            f"{home}: no records; points24 leaderboard ingest DIR makes them, --dir names another folder"
        )
    if taken := [name for name in made if f"{name}.md" in (README, recovery.REPORT)]:
        raise InputError(
            f"{home / REPRODUCTION / taken[0]}: the report {taken[0]}.md is another's; rename it"
        )
    drawn, refused = curves(found)
    return Contents(tables(found), paper_tables(found), drawn, recoveries(found), made, others, refused)


def _reproductions(folder: Path) -> dict[str, Reproduction]:
    return {
        each.name: reproduction_of(read_manifest(each / MANIFEST), read_records(each), read_shifts(each))
        for each in sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    }


def texts(found: Contents) -> dict[str, bytes]:
    """File name below ``generated/`` -> its content, of all but the figures."""
    files, reports = {}, []
    if found.recoveries:
        files[recovery.REPORT] = recovery.markdown(found.recoveries)
        reports.append(Link(recovery.REPORT, "Recovery: what recovered checkpoints regain"))
    for name, each in found.reproductions.items():
        files[f"{name}.md"] = reproduction.markdown(name, each, found.trainings[name])
        reports.append(Link(f"{name}.md", f"{name}: the paper's experiment, finding by finding"))
    if found.tables:
        files[PAGE] = page(found.tables, found.of_paper)
    for each in found.of_paper:
        files[f"{TABLES}/{paper.slug(each)}.csv"] = paper.table_csv(each)
        files[f"{TABLES}/{paper.slug(each)}.tex"] = paper.table_latex(each)
    for table in found.tables:
        files[f"{TABLES}/{table.terms.slug}.csv"] = table_csv(table)
        files[f"{TABLES}/{table.terms.slug}.tex"] = table_latex(table)
    of_curves = [
        Link(f"{FIGURES}/{name}", figures.name_of(each))
        for each in found.curves
        for name in figures.curve_figures([each])
    ]
    findings = reproduction.side_by_side(found.reproductions) if found.reproductions else ""
    files[README] = readme(found.tables, reports, of_curves, found.of_paper, findings)
    return {name: text.encode() for name, text in files.items()}


def plots(found: Contents) -> dict[str, Plot]:
    """File name below ``generated/`` -> figure."""
    every = figures.curve_figures(found.curves)
    for each in figures.recovery_figures(found.recoveries):
        every |= each
    for name, made in found.reproductions.items():
        every |= figures.reproduction_figures(name, made)
    every |= figures.contrast_figures(list(found.reproductions.values()))
    return {f"{FIGURES}/{name}": plot for name, plot in every.items()}


class Built(NamedTuple):
    """What a build did."""

    changed: list[str]
    """The names of the files that were written with new content, or removed."""
    warnings: list[str]
    """What is missing, and why."""


def build(home: Path) -> Built:
    """Write ``generated/``, each file as a whole.

    Without matplotlib, figures stay as they are. A build that is killed leaves whole files, some of them
    old; the next one finishes the work.

    Raises:
        InputError: see `contents`; or a file cannot be written.
    """
    with ExitStack() as stack:
        # Keeps two builds apart, and a build from records that are being added to.
        for folder in filter(Path.is_dir, (home / RECORDS, home / REPRODUCTION)):
            stack.enter_context(FileLock(folder / LOCK))
        found, output = contents(home), home / GENERATED
        files, drawings = texts(found), plots(found)
        left_over = _left_over(output, [*files, *drawings])
        for name in left_over:
            (output / name).unlink()
        changed = [name for name, content in files.items() if _read(output / name) != content]
        for name in changed:
            with writing(output / name) as partial:
                partial.write_bytes(files[name])
        warnings = [f"no curve: {reason}" for reason in found.warnings]
        if name := figures.missing_package():
            warnings.append(f"no figures drawn: {name} is not installed: pip install 'points24[plots]'")
        else:
            before = {name: _read(output / name) for name in drawings}
            figures.write_figures({output / name: plot for name, plot in drawings.items()})
            changed += [name for name in drawings if _read(output / name) != before[name]]
        return Built(changed + left_over, warnings)


def differing(home: Path) -> list[str]:
    """The names of generated files that are missing, left over, or not what the records give.

    A figure counts only when missing or left over: another matplotlib draws it with other bytes.
    """
    found, output = contents(home), home / GENERATED
    files, drawings = texts(found), plots(found)
    stale = [name for name, content in files.items() if _read(output / name) != content]
    stale += [name for name in drawings if not (output / name).is_file()]
    return stale + _left_over(output, [*files, *drawings])


def _left_over(output: Path, wanted: Iterable[str]) -> list[str]:
    present = {path.relative_to(output).as_posix() for pattern in _OWN for path in output.glob(pattern)}
    return sorted(present - set(wanted))


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
