"""Check random inputs until one fails.

    python -m tests.fuzz answers --count 10000000            against the oracle: minutes per million
    python -m tests.fuzz replies --count 100000 --seed 1     likewise replies, templates, rules
    python -m tests.fuzz answers --start 4711 --count 1      one again

Ends with the number of each outcome, also when it is interrupted; exit status 1 after a fault, which is
printed with what draws it again.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections import Counter

from tqdm import tqdm

from tests.fuzz.checks import KINDS, drawn


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--start", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    outcomes: Counter[str] = Counter()
    try:
        for number in tqdm(range(args.start, args.start + args.count), args.kind, mininterval=5):
            case = drawn(args.kind, args.seed, number)
            try:
                outcomes[KINDS[args.kind].check(case)] += 1
            except Exception:
                traceback.print_exc(limit=-3)
                again = f"python -m tests.fuzz {args.kind} --seed {args.seed} --start {number} --count 1"
                print(f"{case!r}\n{again}", file=sys.stderr)
                return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    print(
        f"{outcomes.total():,} {args.kind}: "
        + ", ".join(f"{n:,} {what}" for what, n in outcomes.most_common())
    )
    return 0


sys.exit(main())
