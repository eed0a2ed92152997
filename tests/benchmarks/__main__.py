"""What points24 costs beside the alternatives: one table, and the same as JSON.

    python -m tests.benchmarks                     every row; make bench
    python -m tests.benchmarks rewards spectral    some
    python -m tests.benchmarks -o FILE             the JSON there instead of bench.json

Each file of this folder runs in a process of its own, with one thread. Run by itself, it prints more than its
rows here.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.table import Row, table

FILES = ("rewards", "game", "spectral", "drift", "engines", "trainers", "leaderboards")
_MARK = "ROW "


def measured(name: str) -> list[Row]:
    """The rows of one file, from a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "tests.benchmarks", "--rows-of", name]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(f"{name}: {run.stderr[-4000:]}")
    lines = [line for line in run.stdout.splitlines() if line.startswith(_MARK)]
    return [Row(*json.loads(line.removeprefix(_MARK))) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"of {', '.join(FILES)}; all of them")
    parser.add_argument("-o", dest="out", type=Path, default=Path("bench.json"))
    parser.add_argument("--rows-of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rows_of:
        for row in importlib.import_module(f"tests.benchmarks.{args.rows_of}").rows():
            print(_MARK + json.dumps(row), flush=True)
        return
    if unknown := set(args.files) - set(FILES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(FILES)}")
    rows: list[Row] = []
    for name in args.files or FILES:
        print(f"points24: bench: {name}", file=sys.stderr, flush=True)
        rows += measured(name)
    print(table(rows))
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    written = machine | {"rows": [row._asdict() | {"ratio": row.ratio} for row in rows]}
    args.out.write_text(json.dumps(written, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
