"""Ray with two nodes on one machine runs work and loses a node."""

import os

import pytest

from tests.beyond.slurm import until
from tests.beyond.work import EXPECTED, Command

pytestmark = pytest.mark.slow
pytest.importorskip("ray")


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        for _ in range(2):  # the first is the head
            cluster.add_node(num_cpus=1, include_dashboard=False)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture
def start(tmp_path):
    """Starts the command on the cluster, as a task on either node."""
    started = []

    def start(**arguments: object) -> Command:
        started.append(Command(tmp_path, "ray", os.environ, **arguments))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()


def lose_a_node(cluster) -> None:
    (node,) = cluster.worker_nodes
    cluster.remove_node(node, allow_graceful=False)  # kill -9


def test_what_a_lost_node_had_is_reported(start, cluster):
    command = start(address=cluster.address)
    until(command.is_in_the_middle, 200)
    lose_a_node(cluster)
    status, (said,) = command.ended()
    assert status == 0
    assert " failed: " in said
    assert set(command.done()) < set(EXPECTED)
    again = start(address=cluster.address)
    assert again.ended() == (0, [])
    assert again.done() == EXPECTED


def test_with_max_retries_ray_takes_the_work_elsewhere(start, cluster):
    command = start(address=cluster.address, max_retries=1)
    until(command.is_in_the_middle, 200)
    lose_a_node(cluster)
    assert command.ended() == (0, [])
    assert command.done() == EXPECTED


def test_a_command_that_is_terminated_says_so(start, cluster):
    """Ray would end it by a handler of its own."""
    command = start(address=cluster.address)
    until(command.is_in_the_middle, 200)
    command.process.terminate()
    assert command.ended() == (143, [])


def test_a_cluster_that_is_not_there_is_one_line(start):
    status, said = start(address="auto").ended()
    assert status == 2
    assert said[-1].startswith("points24: error: executor_args: Could not find any running Ray instance")
