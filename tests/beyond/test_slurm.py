"""A real SLURM runs sweeps, loses jobs and gets them back; the records are those of one process."""

import subprocess

import pytest

from tests.beyond import slurm
from tests.beyond.conftest import Sweep

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(slurm.missing()), reason=f"SLURM: not installed: {', '.join(slurm.missing())}"),
]


@pytest.fixture(scope="module")
def environment():
    with slurm.running() as environment:
        yield environment


@pytest.fixture
def sweep(recipe, tmp_path, environment):
    """Starts the sweep on SLURM, as two jobs of one array."""
    started = []

    def start(**others: object) -> Sweep:
        arguments = {"timeout_min": 10, "cpus_per_task": 1} | others
        settings = {"executor": "slurm", "workers": 2, "executor_args": arguments}
        started.append(Sweep(recipe, tmp_path / "out", environment, **settings))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
    slurm.said(["scancel", "--me"], environment)
    slurm.until(lambda: not queue(environment), 30)


def queue(environment) -> dict[str, str]:
    """Job -> its state."""
    lines = slurm.said(["squeue", "--noheader", "--array", "--format=%i %T"], environment).splitlines()
    return dict(line.split() for line in lines)


def in_the_middle(sweep: Sweep, environment) -> list[str]:
    """The jobs that are running once the first part is done."""
    slurm.until(sweep.is_in_the_middle, 120)
    return [job for job, state in queue(environment).items() if state == "RUNNING"]


def order(environment, *command: str) -> None:
    subprocess.run(command, env=environment, check=True)


def test_the_records_are_those_of_one_process(sweep, expected):
    running = sweep()
    assert running.ended() == (0, [])
    assert running.records() == expected


def test_requeued_in_the_middle_it_goes_on(sweep, expected, environment):
    running = sweep()
    for job in in_the_middle(running, environment):
        order(environment, "scontrol", "requeue", job)
    assert running.ended() == (0, [])
    assert running.records() == expected


def test_cancelled_in_the_middle_it_is_tried_again(sweep, expected, environment):
    running = sweep()
    order(environment, "scancel", in_the_middle(running, environment)[0])
    status, said = running.ended()
    assert status == 0, said
    assert " failed: " in said[0]
    assert running.records() == expected


def test_at_the_end_of_its_time_it_goes_back_into_the_queue(sweep, expected, environment):
    """submitit lets SLURM send SIGUSR2 a while before it."""
    running = sweep()
    for job in in_the_middle(running, environment):
        order(environment, "scancel", "--signal=USR2", job)
    assert running.ended() == (0, [])
    assert running.records() == expected


def test_terminated_it_ends_its_jobs_and_goes_on_when_it_is_called_again(sweep, expected, environment):
    running = sweep()
    in_the_middle(running, environment)
    running.process.terminate()
    assert running.ended() == (143, ["points24: terminated; the same command goes on from here"])
    slurm.until(lambda: not queue(environment), 30)
    again = sweep()
    assert again.ended()[0] == 0
    assert again.records() == expected


def test_killed_its_jobs_are_ended_by_the_next_command(sweep, expected, environment):
    running = sweep()
    left = {job.split("_")[0] for job in in_the_middle(running, environment)}
    running.process.kill()
    running.process.wait()
    again = sweep()
    status, said = again.ended()
    assert status == 0
    assert said[0] == f"points24: ending SLURM jobs of an earlier command: {', '.join(sorted(left))}"
    assert again.records() == expected


def test_a_partition_that_is_not_there_is_one_line(sweep):
    status, said = sweep(slurm_partition="nowhere").ended()
    assert status == 2
    assert "invalid partition specified: nowhere" in " ".join(said)
