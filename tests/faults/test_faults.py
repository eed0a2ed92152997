"""The short edition; ``python -m tests.faults`` is the long one."""

import shutil

import pytest

from tests.faults.trials import KINDS, Bench
from tests.faults.world import Fault, World

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="the shim needs a C compiler")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with World(tmp_path_factory.mktemp("shim")) as found:
        yield found


@pytest.fixture(scope="module", params=["ingest", "recover", "nano"])
def bench(request, world, tmp_path_factory):
    return Bench(world, request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("kind", ["kills", "clock", "twice"])
def test_after_a_fault_the_same_command_ends_as_if_nothing_had_happened(bench, kind):
    for fault in KINDS[kind](bench, 3 if kind == "kills" else 1, 1):
        assert bench.trial(fault, twice=kind == "twice") is None


def test_a_write_that_fails_is_one_line_and_no_loss(bench):
    faults = KINDS["disk"](bench, 0, 0)
    assert len(faults) > 5
    for fault in faults[:: max(1, len(faults) // 6)]:
        assert bench.trial(fault) is None


def test_the_shim_lets_writes_fail_and_a_lasting_fault_is_seen(bench):
    """Else the tests above could not fail."""
    before = bench.struck
    assert bench.trial(Fault(at=1)) is None
    assert bench.struck == before + 1
