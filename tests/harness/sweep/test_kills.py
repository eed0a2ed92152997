"""Killed at any moment and started again, a campaign ends as if nothing had happened."""

import multiprocessing
import os
import random
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch

from points24.harness.files import json_lines
from points24.harness.records.store import read_records
from points24.harness.sweep.campaign import conduct
from points24.harness.sweep.config import SweepConfig
from tests.harness.sweep.conftest import undated

fork = multiprocessing.get_context("fork")  # what takes long to import is there already


def start(config: SweepConfig):
    """The campaign in a process of its own."""

    def work():
        torch.set_num_threads(1)  # a forked process has none of its parent's threads
        with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere), redirect_stdout(nowhere):
            os._exit(len(conduct(config).failed))

    process = fork.Process(target=work)
    process.start()
    return process


def finish(config: SweepConfig) -> list[dict]:
    """Its records, when it has come to its end; and nothing else may be left of what went before."""
    process = start(config)
    process.join(300)
    assert process.exitcode == 0
    out = Path(config.output_dir)
    assert not list(out.rglob("*.partial"))
    assert not (out / "factors").exists()
    assert len(list((out / "jobs").iterdir())) == 4
    for folder in (out / "jobs").iterdir():
        assert len(list(json_lines(folder / "records.jsonl"))) == 2
    (kept,) = (out / "kept").iterdir()
    assert (kept / "recovery.json").exists()
    return sorted(undated(read_records(out / "records")), key=str)


def killed(config: SweepConfig, after: float) -> bool:
    """Start it, and kill it so many seconds later; whether it was still at work."""
    process = start(config)
    process.join(after)
    return kill(process)


def killed_in(config: SweepConfig, job: int) -> bool:
    """Start it, and kill it once so many jobs are begun; whether it was still at work."""
    process = start(config)
    while process.is_alive() and len(list(Path(config.output_dir, "jobs").glob("*"))) < job:
        time.sleep(0.001)
    return kill(process)


def kill(process) -> bool:
    alive = process.is_alive()
    process.kill()
    process.join()
    return alive


@pytest.fixture
def folders(config, tmp_path):
    """The same campaign in one new folder after the other."""

    def new(number: object) -> SweepConfig:
        return config(keep="best", limit=2, output_dir=str(tmp_path / str(number)))

    return new


@pytest.fixture
def undisturbed(folders):
    """(records, seconds)."""
    conduct(folders("warm"))  # here: whatever is found out once per process, the others find done
    began = time.monotonic()
    return finish(folders("undisturbed")), time.monotonic() - began


def test_killed_again_and_again_it_ends_with_the_same_records(folders, undisturbed):
    records, _ = undisturbed
    config = folders("killed")
    assert all(killed_in(config, job) for job in (1, 2, 3, 4))
    assert finish(config) == records


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_records(folders, undisturbed):
    records, seconds = undisturbed
    draw = random.Random(50)
    moments = [(i + draw.random()) * seconds / 50 for i in range(50)]
    kills = 0
    for number, moment in enumerate(moments):
        config = folders(number)
        kills += killed(config, moment)
        assert finish(config) == records, moment
    assert kills > 40


@pytest.mark.slow
def test_killed_a_little_later_each_time_until_it_is_done(folders, undisturbed):
    records, seconds = undisturbed
    config = folders("killed")
    kills = 0
    while killed(config, (1 + kills) * seconds / 40):
        kills += 1
    assert kills > 3
    assert finish(config) == records
