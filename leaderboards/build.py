"""Records -> every generated file: written, or compared with what is there."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock

from points24.harness.files import replacing
from points24.harness.record_store import LOCK, read_records
from points24.harness.recovery import recoveries
from points24.leaderboards.aggregate import tables
from points24.leaderboards.page import page
from points24.leaderboards.recovery import REPORT
from points24.leaderboards.recovery import markdown as recovery_markdown
from points24.leaderboards.render import markdown, table_csv, table_latex
from points24.tasks.errors import InputError

TABLES = "tables"
"""The subfolder that belongs to the generated tables: whatever else lies in it is taken away."""


def generated(records: Path) -> dict[str, bytes]:
    """File name below the leaderboards folder -> its content. A function of the records alone.

    Raises:
        InputError: a bad record, or none.
    """
    found = read_records(records)
    if not found:
        raise InputError(f"{records}: no records; points24 leaderboard ingest DIR makes them")
    all_tables = tables(found)
    repaired = recoveries(found)
    texts = {"README.md": markdown(all_tables, REPORT if repaired else None), "index.html": page(all_tables)}
    if repaired:
        texts[REPORT] = recovery_markdown(repaired)
    for table in all_tables:
        texts[f"{TABLES}/{table.protocol.slug}.csv"] = table_csv(table)
        texts[f"{TABLES}/{table.protocol.slug}.tex"] = table_latex(table)
    return {name: text.encode() for name, text in texts.items()}


def build(records: Path, output: Path) -> list[str]:
    """Write every generated file, each as a whole, and return the names of those that changed.

    A build that is killed leaves whole files of which some are old; the next one finishes the work.
    """
    if not records.is_dir():
        raise InputError(f"{records}: no such folder of records")
    # The lock keeps two builds apart, and a build from records that are being added to.
    with FileLock(records / LOCK):
        files = generated(records)
        for name in files:  # what a killed build may have left
            (output / f"{name}.partial").unlink(missing_ok=True)
        changed = _differing(files, output)
        for name in changed:
            path = output / name
            if name not in files:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial:
                partial.write_bytes(files[name])
    return changed


def differing(records: Path, output: Path) -> list[str]:
    """The names of generated files that are missing, left over, or not what the records give."""
    return _differing(generated(records), output)


def _differing(files: dict[str, bytes], output: Path) -> list[str]:
    changed = [
        name
        for name, content in files.items()
        if not (output / name).is_file() or (output / name).read_bytes() != content
    ]
    present = [f"{TABLES}/{path.name}" for path in (output / TABLES).glob("*")]
    if (output / REPORT).exists():
        present.append(REPORT)
    return changed + sorted(name for name in present if name not in files)
