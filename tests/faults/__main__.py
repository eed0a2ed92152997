"""Commands under faults, again and again; after each, the same command must end as if nothing had happened.

    python -m tests.faults kills --count 500            SIGKILL, SIGTERM and SIGINT at random moments
    python -m tests.faults disk                         every write fails: ENOSPC, EIO, EROFS, once and for good
    python -m tests.faults clock --count 20             the clock jumps by up to a day
    python -m tests.faults twice --count 20             two processes with one command
    python -m tests.faults kills --only sweep,sft
    python -m tests.faults kills --count 12 --only reproduce    which takes much longer

Prints a table, and each fault with what it broke; exit status 1 if any did.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tabulate import tabulate
from tqdm import tqdm

from tests.faults.scenarios import SCENARIOS, SLOW
from tests.faults.trials import KINDS, Bench
from tests.faults.world import World


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--count", type=int, default=60, help="trials in all, of kinds that are drawn")
    parser.add_argument("--only", default=",".join(name for name in SCENARIOS if name not in SLOW))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    names = args.only.split(",")
    rows, broken = [], 0
    with tempfile.TemporaryDirectory() as scratch, World(Path(scratch)) as world:
        for name in names:
            bench = Bench(world, name, Path(scratch) / name)
            trials = KINDS[args.kind](bench, max(1, args.count // len(names)), args.seed)
            found = []
            for fault in tqdm(trials, f"{args.kind} {name}"):
                if wrong := bench.trial(fault, twice=args.kind == "twice"):
                    found.append(wrong)
                    tqdm.write(f"{name}: {fault}: {wrong}", sys.stderr)
            broken += len(found)
            rows.append([name, len(trials), bench.struck, len(found)])
    print(tabulate(rows, ["command", "trials", "struck", "broken"], tablefmt="github"))
    return 1 if broken else 0


sys.exit(main())
