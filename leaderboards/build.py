"""Records -> every generated file: written, or compared with what is there."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock

from points24.harness.analysis.recovery import recoveries
from points24.harness.experiment.manifest import MANIFEST, read_manifest
from points24.harness.experiment.measures import Reproduction, reproduction_of
from points24.harness.files import discard_partial, replacing
from points24.harness.records.store import LOCK, read_records
from points24.leaderboards.aggregate import tables
from points24.leaderboards.render.page import page
from points24.leaderboards.render.tables import markdown, table_csv, table_latex
from points24.leaderboards.reports import reproduction
from points24.leaderboards.reports.recovery import REPORT
from points24.leaderboards.reports.recovery import markdown as recovery_markdown
from points24.tasks.errors import InputError

REPRODUCTION = "reproduction"
"""The subfolder with, for each `points24 reproduce`, a folder of its manifest and records."""
TABLES = "tables"
"""The subfolder that belongs to the generated tables: whatever else lies in it is taken away."""


def generated(records: Path) -> dict[str, bytes]:
    """File name below the leaderboards folder -> its content.

    A function of the records, and of the folder ``reproduction`` beside theirs if there is one: manifests
    and their own records, which are too many for the tables. Figures are not among it.

    Raises:
        InputError: a bad record, or none; a bad manifest, or a record missing that it speaks of.
    """
    return _generated(records)[0]


def _generated(records: Path) -> tuple[dict[str, bytes], Reproduction | None]:
    found = read_records(records)
    if not found:
        raise InputError(f"{records}: no records; points24 leaderboard ingest DIR makes them")
    all_tables = tables(found)
    repaired = recoveries(found)
    manifests = sorted((records.parent / REPRODUCTION).glob(f"*/{MANIFEST}"))
    made = (
        reproduction_of(read_manifest(manifests[0]), read_records(manifests[0].parent)) if manifests else None
    )
    readme = markdown(all_tables, REPORT if repaired else None, reproduction.REPORT if made else None)
    texts = {"README.md": readme, "index.html": page(all_tables)}
    if made:
        texts[reproduction.REPORT] = reproduction.markdown(made)
    if repaired:
        texts[REPORT] = recovery_markdown(repaired)
    for table in all_tables:
        texts[f"{TABLES}/{table.protocol.slug}.csv"] = table_csv(table)
        texts[f"{TABLES}/{table.protocol.slug}.tex"] = table_latex(table)
    return {name: text.encode() for name, text in texts.items()}, made


def build(records: Path, output: Path) -> list[str]:
    """Write every generated file, each as a whole, and return the names of those that changed.

    A build that is killed leaves whole files of which some are old; the next one finishes the work.
    """
    if not records.is_dir():
        raise InputError(f"{records}: no such folder of records")
    # The lock keeps two builds apart, and a build from records that are being added to.
    with FileLock(records / LOCK):
        files, made = _generated(records)
        for name in files:  # what a killed build may have left
            discard_partial(output / name)
        changed = _differing(files, output)
        for name in changed:
            path = output / name
            if name not in files:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial:
                partial.write_bytes(files[name])
        return changed + _draw(made, output)


def differing(records: Path, output: Path) -> list[str]:
    """The names of generated files that are missing, left over, or not what the records give.

    Of figures, which another matplotlib draws otherwise, those that are missing or left over.
    """
    files, made = _generated(records)
    wanted = _figures(made)
    lost = sorted(name for name in wanted if not (output / name).is_file())
    return _differing(files, output) + lost + _left_over(output, wanted)


def _figures(made: Reproduction | None) -> set[str]:
    names = reproduction.figure_names(made) if made else []
    return {f"{reproduction.FIGURES}/{name}" for name in names}


def _left_over(output: Path, wanted: set[str]) -> list[str]:
    present = (output / reproduction.FIGURES).glob("reproduction_*.svg")
    return sorted({f"{reproduction.FIGURES}/{path.name}" for path in present} - wanted)


def _draw(made: Reproduction | None, output: Path) -> list[str]:
    """Write the figures and return the names of those that changed.

    Without matplotlib, what is there stays.

    Raises:
        InputError: there is no matplotlib, and a figure is missing.
    """
    wanted = _figures(made)
    gone = _left_over(output, wanted)
    for name in gone:
        (output / name).unlink()
    if made is None:
        return gone
    before = {name: (output / name).read_bytes() for name in wanted if (output / name).is_file()}
    try:
        reproduction.write_figures(made, output)
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] != "matplotlib":
            raise
        if lost := sorted(wanted - before.keys()):
            raise InputError(f"{lost[0]} needs matplotlib: pip install 'points24[plots]'") from e
        return gone
    return gone + sorted(name for name in wanted if (output / name).read_bytes() != before.get(name))


def _differing(files: dict[str, bytes], output: Path) -> list[str]:
    changed = [
        name
        for name, content in files.items()
        if not (output / name).is_file() or (output / name).read_bytes() != content
    ]
    present = [f"{TABLES}/{path.name}" for path in (output / TABLES).glob("*")]
    present += [name for name in (REPORT, reproduction.REPORT) if (output / name).exists()]
    return changed + sorted(name for name in present if name not in files)
