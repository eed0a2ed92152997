"""In this process, or in several beside it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path

from points24.harness.executors.workers import C, T, Work, Workers, tell


def run(workers: Workers, work: Work[C, T], common: C, shares: Sequence[Sequence[T]], _folder: Path) -> None:
    if workers.count == 1:
        work(common, [item for share in shares for item in share])  # one engine, say, for all of them
        return
    # Read when a process starts: threads that wait for each other would cost more than they give.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers.count)))
    spawn = multiprocessing.get_context("spawn")
    waiting, running = list(shares), {}
    try:
        while waiting or running:
            while waiting and len(running) < workers.count:
                process = spawn.Process(target=work, args=(common, waiting.pop(0)))
                process.start()
                running[process.sentinel] = process
            for sentinel in wait(list(running)):
                process = running.pop(sentinel)
                process.join()
                tell(f"process {process.pid}", process.exitcode and f"exit status {process.exitcode}", "")
    finally:  # interrupted: what they have done is on the disk
        for process in running.values():
            process.terminate()
