"""Factors on disk: made once, and shared."""

import multiprocessing

import pytest
import torch
from safetensors import SafetensorError

from points24.harness.recovery.spectral import factor_store
from points24.harness.recovery.spectral.factor_store import FactorStore
from points24.harness.recovery.spectral.factors import factorise
from points24.tasks.errors import InputError
from tests.harness.recovery.models import make_pair
from tests.harness.recovery.test_recovered import recovered


@pytest.fixture
def matrix():
    return torch.randn(12, 7, generator=torch.Generator().manual_seed(0)).bfloat16()


def same(factors, others):
    return torch.equal(factors.values, others.values) and torch.equal(factors.vectors, others.vectors)


def test_factors_are_those_with_every_vector_whatever_is_asked_for(tmp_path, matrix):
    expected = factorise(matrix)
    store = FactorStore(tmp_path)
    for ranks in ((0, 0), (2, 4), (0, 7)):
        assert same(store(matrix, ranks), expected)
    assert store.made == 1


def test_a_new_store_finds_what_another_has_made(tmp_path, matrix):
    made = FactorStore(tmp_path / "new" / "folder")(matrix, (0, 7))
    store = FactorStore(tmp_path / "new" / "folder")
    assert same(store(matrix.clone(), (0, 7)), made)
    assert store.made == 0


def test_other_content_shape_or_dtype_is_another_matrix(tmp_path, matrix):
    store = FactorStore(tmp_path)
    changed = matrix.clone()
    changed[0, 0] += 1
    zeros = torch.zeros(12, 6, dtype=torch.bfloat16)
    for each in (matrix, changed, matrix.float(), zeros, zeros.view(24, 3), zeros.half()):
        assert same(store(each, (0, 1)), factorise(each))
    assert store.made == 6


def test_a_transposed_matrix_of_the_same_elements_is_factorised_rightly(tmp_path, matrix):
    store = FactorStore(tmp_path)
    for each in (matrix, matrix.T, matrix.T.contiguous(), matrix.view(7, 12)):
        assert same(store(each, (0, 1)), factorise(each))


def test_recipes_and_pairs_share_factors(tmp_path):
    source, target = make_pair(tmp_path)
    first, second = recovered(source, target, tmp_path)[:2]
    assert first.digest
    made = len(list((tmp_path / "factors").iterdir()))
    assert made == 28  # 14 matrices of either end
    assert second.digest
    assert recovered(target, source, tmp_path)[0].digest
    assert len(list((tmp_path / "factors").iterdir())) == made


def test_a_second_process_at_the_same_matrix_does_no_harm(tmp_path, matrix):
    """Both find nothing, both make it, and either's file is whole at any moment."""
    processes = 4
    barrier = multiprocessing.get_context("fork").Barrier(processes)

    def work():
        barrier.wait()
        for number in range(20):
            each = matrix + number
            if not same(FactorStore(tmp_path)(each, (0, 1)), factorise(each)):
                raise SystemExit(1)

    started = [multiprocessing.get_context("fork").Process(target=work) for _ in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0] * processes
    assert len(list(tmp_path.iterdir())) == 20
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors"}


def test_two_processes_on_one_pair_factorise_each_matrix_once(tmp_path):
    source, target = make_pair(tmp_path)
    fork, kept, log = multiprocessing.get_context("fork"), factor_store.factorise, tmp_path / "log"
    barrier = fork.Barrier(2)

    def counted(matrix):
        with log.open("a") as file:
            file.write(".")
        return kept(matrix)

    def work():
        torch.set_num_threads(1)  # a forked process has none of its parent's threads
        factor_store.factorise = counted
        barrier.wait()
        assert recovered(source, target, tmp_path)[0].digest

    processes = [fork.Process(target=work) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(log.read_text()) == 28  # 14 matrices of either end


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_inf_raise_and_leave_no_file(tmp_path, matrix, value):
    matrix[3, 3] = value
    with pytest.raises(ValueError, match="NaN"):
        FactorStore(tmp_path)(matrix, (0, 1))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path, matrix):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=str(tmp_path / "file")):
        FactorStore(tmp_path / "file")(matrix, (0, 1))


def test_a_full_disk_is_named_and_leaves_no_part_of_a_file(tmp_path, matrix, monkeypatch):
    def full(tensors, path):
        path.write_bytes(b"part")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(InputError, match="No space left"):
        FactorStore(tmp_path)(matrix, (0, 1))
    assert not list(tmp_path.iterdir())
