"""Shares of the jobs in other processes give what one process gives."""

import os
import sys
from pathlib import Path

import pytest

from points24.harness.executors import slurm
from points24.harness.sweep import campaign
from points24.harness.sweep.campaign import conduct
from points24.harness.sweep.run import run_jobs
from points24.tasks.errors import InputError
from tests.harness.sweep.conftest import undated

SLURM = {"executor": "slurm", "executor_args": {"cluster": "debug"}}
LOCAL = {"executor": "slurm", "executor_args": {"cluster": "local", "timeout_min": 5}, "workers": 2}
RAY = {"executor": "ray", "workers": 2}


@pytest.fixture
def expected(config, tmp_path):
    """What one process gives."""
    return undated(conduct(config(limit=2, output_dir=str(tmp_path / "alone"))).records)


def fails_once(config, jobs):
    """Ends its process on the share with the recovered checkpoints, the first time."""
    flag = Path(config.output_dir) / "broken-off"
    if jobs[0].pair is not None and not flag.exists():
        flag.touch()
        os._exit(3)
    run_jobs(config, jobs)


def fails(config, jobs):
    raise InputError("nothing\nto do")


def messages(capsys) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("points24: ")]


def test_submitit_gives_the_same_records(config, expected):
    """In this process: submitit's way of trying things out."""
    outcome = conduct(config(limit=2, **SLURM))
    assert not outcome.failed
    assert undated(outcome.records) == expected


@pytest.mark.slow
@pytest.mark.parametrize("executor", [LOCAL, RAY], ids=["submitit", "ray"])
def test_several_processes_give_the_same_records(config, expected, executor):
    outcome = conduct(config(limit=2, **executor))
    assert not outcome.failed
    assert undated(outcome.records) == expected


@pytest.mark.slow
@pytest.mark.parametrize("executor", [LOCAL, RAY], ids=["submitit", "ray"])
def test_a_share_that_fails_is_reported_and_tried_again(config, expected, executor, monkeypatch, capsys):
    monkeypatch.setattr(campaign, "run_jobs", fails_once)
    outcome = conduct(config(limit=2, **executor))
    assert not outcome.failed
    assert undated(outcome.records) == expected
    broken, again = messages(capsys)
    assert " failed: " in broken
    assert again == "points24: trying 2 jobs again"


@pytest.mark.slow
@pytest.mark.parametrize("executor", [LOCAL, RAY], ids=["submitit", "ray"])
def test_what_a_share_raises_is_shown_in_one_line(config, executor, monkeypatch, capsys):
    monkeypatch.setattr(campaign, "run_jobs", fails)
    outcome = conduct(config(retries=0, **executor))
    assert set(outcome.failed.values()) == {"its process ended before it was done"}
    lines = messages(capsys)
    assert len(lines) == 2
    assert all(" failed: " in line and "to do" in line for line in lines)


@pytest.mark.parametrize(("executor", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_a_missing_package_is_named_with_its_extra(config, monkeypatch, executor, package):
    monkeypatch.setitem(sys.modules, package, None)
    expected = rf"executor {executor}: {package} is not installed: pip install 'points24\[{executor}\]'"
    with pytest.raises(InputError, match=expected):
        conduct(config(executor=executor))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cluster": "nowhere"}, "executor_args: AutoExecutor doesn't know any executor named nowhere"),
        ({"cluster": "debug", "gpus": 1}, "executor_args: .*gpus"),
        ({"cluster": "debug", "timeout_min": "soon"}, "executor_args: .*timeout_min"),
    ],
)
def test_bad_arguments_of_submitit_are_named(config, arguments, message):
    with pytest.raises(InputError, match=message):
        conduct(config(executor="slurm", executor_args=arguments))


def test_without_slurm_nothing_runs_elsewhere(config, monkeypatch):
    """submitit would run it here, and say nothing."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match='Could not detect "srun"'):
        conduct(config(executor="slurm"))


def test_a_job_has_ended_once_it_left_slurms_queue():
    """sacct would say so, too, where SLURM has a database."""
    queue = slurm._queue()
    for job in ("7_0", "7_1", "8"):
        queue.register_job(job)
    queue._info_dict = queue.read_info(b"7_0 CONFIGURING\n8 REQUEUED\n99 RUNNING\n")
    assert [queue.is_done(job, mode="cache") for job in ("7_0", "7_1", "8")] == [False, True, False]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"num_gpu": 1}, "executor_args: .*num_gpu"), ({"num_cpus": -1}, "executor_args: ")],
)
def test_bad_arguments_of_ray_are_named(config, arguments, message):
    with pytest.raises(InputError, match=message):
        conduct(config(executor="ray", executor_args=arguments))
