"""A real SLURM runs work, loses jobs and gets them back."""

import subprocess
import sys

import pytest

from tests.beyond import slurm
from tests.beyond.work import EXPECTED, Command

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(slurm.missing()), reason=f"needs slurm-wlm and munge: no {', '.join(slurm.missing())}"
    ),
]
pytest.importorskip("submitit")


@pytest.fixture(scope="module")
def environment():
    with slurm.running() as environment:
        yield environment


@pytest.fixture
def start(tmp_path, environment):
    """Starts the command on SLURM, as an array of two jobs."""
    started = []

    def start(**others: object) -> Command:
        arguments = {"timeout_min": 10, "cpus_per_task": 1} | others
        started.append(Command(tmp_path, "slurm", environment, **arguments))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
    slurm.said(["scancel", "--me"], environment)
    slurm.until(lambda: not queue(environment), 60)


def queue(environment) -> dict[str, str]:
    """Job -> its state."""
    lines = slurm.said(["squeue", "--noheader", "--array", "--format=%i %T"], environment).splitlines()
    return dict(line.split() for line in lines)


def in_the_middle(command: Command, environment) -> list[str]:
    """The jobs, once both are at work."""
    slurm.until(command.is_in_the_middle, 200)
    return sorted(queue(environment))


def order(environment, *command: str) -> None:
    subprocess.run(command, env=environment, check=True)


def test_it_ends_when_its_jobs_have_ended(start):
    command = start()
    assert command.ended() == (0, [])
    assert command.done() == EXPECTED


@pytest.mark.parametrize(
    "how", [("scontrol", "requeue"), ("scancel", "--signal=USR2")], ids=["requeued", "out of time"]
)
def test_a_job_that_goes_back_into_the_queue_goes_on(start, environment, how):
    """submitit lets SLURM send SIGUSR2 a while before a job's time is up."""
    command = start()
    for job in in_the_middle(command, environment):
        order(environment, *how, job)
    assert command.ended() == (0, [])
    assert command.done() == EXPECTED


def test_a_cancelled_job_is_reported(start, environment):
    """Without SLURM's database, too: sacct knows nothing here."""
    command = start()
    order(environment, "scancel", in_the_middle(command, environment)[0])
    status, (said,) = command.ended()
    assert status == 0
    assert " failed: " in said
    assert {name for name in EXPECTED if name.startswith("b")} <= set(command.done()) < set(EXPECTED)


def test_a_command_that_is_terminated_ends_its_jobs(start, environment):
    command = start()
    in_the_middle(command, environment)
    command.process.terminate()
    assert command.ended() == (143, [])
    slurm.until(lambda: not queue(environment), 60)
    assert set(command.done()) < set(EXPECTED)


def test_jobs_of_a_command_that_was_killed_are_ended_by_the_next(start, environment):
    command = start()
    left = {job.split("_")[0] for job in in_the_middle(command, environment)}
    command.process.kill()
    command.process.wait()
    status, said = (again := start()).ended()
    assert status == 0
    assert said[0] == f"points24: ending SLURM jobs of an earlier command: {', '.join(sorted(left))}"
    assert again.done() == EXPECTED


def test_a_partition_that_is_not_there_is_one_line(start):
    status, (said,) = start(slurm_partition="nowhere").ended()
    assert status == 2
    assert "invalid partition specified: nowhere" in said


def test_sigterm_from_the_scheduler_ends_a_batch_job_that_goes_on_when_it_is_requeued(tmp_path, environment):
    """A script of a user's, with a command that has processes of its own."""
    script = tmp_path / "script.sh"
    script.write_text(
        f"#!/bin/bash\n#SBATCH --open-mode=append --output={tmp_path}/log\ntrap : TERM\n"
        f"{sys.executable} -m tests.beyond.work {tmp_path} local '{{}}'\necho status $?\n"
    )
    job = slurm.said(["sbatch", "--parsable", str(script)], environment)
    command = Command.__new__(Command)
    command.folder = tmp_path
    in_the_middle(command, environment)
    order(environment, "scontrol", "requeue", job)
    slurm.until(lambda: not queue(environment), 200)
    assert [line for line in (tmp_path / "log").read_text().splitlines() if "status" in line] == [
        "status 143",
        "status 0",
    ]
    assert command.done() == EXPECTED
