"""How long and how large building the tables from 10,000 records is.

    python -m tests.benchmarks.leaderboards

The records are of 5,000 made-up checkpoints, each a child of the one before, on the full ID and OOD sets.
"""

from __future__ import annotations

import json
import os
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from points24.harness.records.record import SCHEMA, Record
from points24.harness.records.store import add_records
from points24.leaderboards.build import build
from points24.tasks.hand_sets import hand_set
from points24.tasks.lm_eval.files import task_version
from points24.tasks.prompts import template
from points24.tasks.protocols.protocol import DEFAULT, read_protocol
from tests.benchmarks.table import Row, exponent

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
        protocol_digest=read_protocol(DEFAULT).digest,
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


def made_up_records(checkpoints: int) -> list[Record]:
    chance = random.Random(0)
    return [
        made_up(step, name, chance.uniform(0.1, 0.9), chance)
        for step in range(checkpoints)
        for name in ("id", "ood")
    ]


def rows() -> Iterator[Row]:
    def added(count: int) -> tuple[float, float]:
        """CPU seconds of adding and of building, each in a folder of its own."""
        with tempfile.TemporaryDirectory() as folder:
            home, records = Path(folder), made_up_records(count // 2)
            start = time.process_time()
            add_records(home / "records" / "made-up.jsonl", records)
            middle = time.process_time()
            build(home)
            return middle - start, time.process_time() - middle

    def plain(records: list[Record]) -> tuple[float, float]:
        """CPU seconds of writing the same as JSON lines, and of reading them."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "plain.jsonl"
            start = time.process_time()
            with path.open("w") as stream:
                stream.writelines(json.dumps(asdict(record)) + "\n" for record in records)
                stream.flush()
                os.fsync(stream.fileno())
            middle = time.process_time()
            with path.open() as stream:
                for line in stream:
                    json.loads(line)
            return middle - start, time.process_time() - middle

    sizes = (1250, 2500, 5000, 2 * CHECKPOINTS)
    ours = {count: added(count) for count in sizes}
    theirs = plain(made_up_records(CHECKPOINTS))
    names = (("ingest", "json.dumps to a file"), ("build", "json.loads of a file"))
    for i, (what, against) in enumerate(names):
        growth = exponent(sizes, lambda count, i=i: ours[count][i])
        row = f"{what} {sizes[-1]:,} records"
        yield Row(row, ours[sizes[-1]][i], against, theirs[i], "CPU s", "records", growth)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home, records = Path(folder), made_up_records(CHECKPOINTS)
        add_records(home / "records" / "made-up.jsonl", records)
        count = len(records)
        del records
        start = time.perf_counter()
        build(home)
        print(f"Build from {count:,} records: {time.perf_counter() - start:.1f} s, peak {megabytes():.0f} MB")
        print(f"index.html: {(home / 'generated' / 'index.html').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
