"""How long and how large building the tables from 10,000 records is.

    python tests/benchmarks/leaderboards.py

The records are of 5,000 made-up checkpoints, each a child of the one before, on the full ID and OOD sets.
"""

from __future__ import annotations

import random
import resource
import tempfile
import time
from pathlib import Path

from points24.harness.records.record import SCHEMA, Record
from points24.harness.records.store import add_records
from points24.leaderboards.build import build
from points24.tasks.hand_sets import hand_set
from points24.tasks.lm_eval.files import task_version
from points24.tasks.prompts import template

CHECKPOINTS = 5000


def made_up(step: int, name: str, share: float, chance: random.Random) -> Record:
    hands = hand_set(name)
    outcomes = "".join("1" if chance.random() < share else "0" for _ in hands.deals)
    k, n = outcomes.count("1"), len(outcomes)
    return Record(
        schema=SCHEMA,
        status="measured",
        model=f"run/checkpoint-{step}",
        parent=f"run/checkpoint-{step - 1}",
        step=step,
        task=f"points24_{name}",
        task_version=task_version(f"points24_{name}"),
        hand_set=name,
        rule=name,
        hand_set_digest=hands.digest,
        template_digest=template().digest,
        attempts=1,
        decoding={"do_sample": False, "max_gen_toks": 512},
        engine="hf",
        filter="strict-match",
        k=k,
        n=n,
        verdicts={"correct": k, "wrong_value": n - k},
        truncated=0,
        outcomes=outcomes,
        date="2026-01-31T12:00:00Z",
    )


def megabytes() -> float:
    """The most memory that this process ever held (Linux counts in kilobytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        records = [
            made_up(step, name, chance.uniform(0.1, 0.9), chance)
            for step in range(CHECKPOINTS)
            for name in ("id", "ood")
        ]
        add_records(home / "records" / "made-up.jsonl", records)
        count = len(records)
        del records
        start = time.perf_counter()
        build(home)
        print(f"Build from {count:,} records: {time.perf_counter() - start:.1f} s, peak {megabytes():.0f} MB")
        print(f"index.html: {(home / 'generated' / 'index.html').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
