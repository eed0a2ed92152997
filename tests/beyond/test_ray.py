"""Ray with two nodes on one machine runs sweeps and loses a node; the records are those of one process."""

import pytest

from tests.beyond.conftest import Sweep
from tests.beyond.slurm import until

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
def sweep(recipe, tmp_path, cluster):
    """Starts the sweep on the cluster, as a task on either node."""
    started = []

    def start(**others: object) -> Sweep:
        arguments = {"address": cluster.address} | others
        started.append(Sweep(recipe, tmp_path / "out", executor="ray", workers=2, executor_args=arguments))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()


def lose_a_node(cluster) -> None:
    (node,) = cluster.worker_nodes
    cluster.remove_node(node, allow_graceful=False)  # kill -9


def test_after_a_node_is_lost_the_records_are_those_of_one_process(sweep, cluster, expected):
    running = sweep()
    until(running.is_in_the_middle, 300)
    lose_a_node(cluster)
    status, said = running.ended()
    assert status == 0, said
    assert " failed: " in said[0]
    assert running.records() == expected


def test_with_max_retries_ray_itself_takes_the_work_elsewhere(sweep, cluster, expected):
    running = sweep(max_retries=1)
    until(running.is_in_the_middle, 300)
    lose_a_node(cluster)
    assert running.ended() == (0, [])
    assert running.records() == expected


def test_terminated_it_goes_on_when_it_is_called_again(sweep, expected):
    """Ray would end the command by a handler of its own."""
    running = sweep()
    until(running.is_in_the_middle, 300)
    running.process.terminate()
    assert running.ended() == (143, ["points24: terminated; the same command goes on from here"])
    again = sweep()
    assert again.ended()[0] == 0
    assert again.records() == expected


def test_a_cluster_that_is_not_there_is_one_line(recipe, tmp_path):
    sweep = Sweep(recipe, tmp_path / "out", executor="ray", executor_args={"address": "127.0.0.1:1"})
    status, said = sweep.ended()
    assert status == 2
    assert said[-1].startswith("points24: error: executor_args: ")
