"""Killed in any layer and given again, shared by processes: the bytes of one undisturbed run."""

import json
import multiprocessing
import os
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch

from points24.harness.cli import main
from points24.harness.recovery import layers, unfinished
from points24.harness.recovery.spectral import kept_factors
from tests.harness.recovery.models import make_pair

fork = multiprocessing.get_context("fork")  # what takes long to import is there already
TENSORS, MATRICES = 14, 28  # of two layers; of both ends
GRID = ("--ranks", "top 20%", "--ranks", "all")


@pytest.fixture
def pair(tmp_path):
    return make_pair(tmp_path)


def command(pair, out, *flags):
    return main(
        ["recover", "--source", str(pair[0]), "--target", str(pair[1]), "-o", str(out), *GRID, *flags]
    )


def content(out):
    """Every byte, but for when and by which command it was made."""
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for name in (name for name in found if name.endswith("recovery.json")):
        found[name] = json.loads(found[name]) | {"date": None, "command": None}
    return {name: value for name, value in found.items() if not name.endswith("README.md")}


def run(pair, out, log, *flags, dies_at=None):
    """The command in a process that notes each factorisation it has finished, and dies before the one given."""
    kept = kept_factors.factorise

    def counted(matrix, ranks=None):
        if dies_at is not None and len(log.read_text()) == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        factors = kept(matrix, ranks)
        with log.open("a") as file:
            file.write(".")
        return factors

    def work():
        torch.set_num_threads(1)  # a forked process has none of its parent's threads
        kept_factors.factorise = counted
        with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere), redirect_stdout(nowhere):
            os._exit(command(pair, out, *flags))

    process = fork.Process(target=work)
    process.start()
    process.join(120)
    return process.exitcode


def test_killed_in_every_layer_it_ends_with_the_same_bytes_and_factorises_nothing_twice(pair, tmp_path):
    assert command(pair, tmp_path / "undisturbed") == 0
    log = tmp_path / "log"
    log.touch()
    for matrices in range(0, MATRICES, 3):  # before a tensor is begun, or between its source and its target
        assert run(pair, tmp_path / "out", log, dies_at=matrices) == -signal.SIGKILL
        assert len(log.read_text()) == matrices
        assert not (tmp_path / "out").exists()
    assert run(pair, tmp_path / "out", log) == 0
    assert len(log.read_text()) == MATRICES
    assert content(tmp_path / "out") == content(tmp_path / "undisturbed")
    assert not (tmp_path / "out.partial").exists()


def test_killed_while_it_copies_it_begins_anew(pair, tmp_path):
    partial = tmp_path / "out.partial"
    (partial / "made").mkdir(parents=True)
    (partial / "lock").touch()
    (partial / "made" / "model.safetensors").write_bytes(b"half")
    assert command(pair, tmp_path / "out") == 0
    assert command(pair, tmp_path / "undisturbed") == 0
    assert content(tmp_path / "out") == content(tmp_path / "undisturbed")


def test_interrupted_behind_the_card_it_does_not_take_that_for_the_targets(pair, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copymode", interrupted)
        assert command(pair, tmp_path / "out") == 130
    assert list((tmp_path / "out.partial").rglob("README.md"))
    assert command(pair, tmp_path / "out") == 0
    assert command(pair, tmp_path / "undisturbed") == 0
    assert content(tmp_path / "out") == content(tmp_path / "undisturbed")


def test_killed_as_it_tidies_up_the_next_try_does(pair, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(unfinished, "_remove", interrupted)
        assert command(pair, tmp_path / "out") == 130
    assert (tmp_path / "out").exists()
    assert (tmp_path / "out.partial").exists()
    assert command(pair, tmp_path / "out") == 2
    assert capsys.readouterr().err.endswith("exists; choose another output folder\n")
    assert not (tmp_path / "out.partial").exists()


def test_killed_between_source_and_target_the_source_is_not_factorised_again(pair, tmp_path):
    log = tmp_path / "log"
    log.touch()
    assert run(pair, tmp_path / "out", log, dies_at=7) == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "out.partial").glob("*.safetensors")] == ["0.3.0.safetensors"]
    assert run(pair, tmp_path / "out", log) == 0
    assert len(log.read_text()) == MATRICES
    assert command(pair, tmp_path / "undisturbed") == 0
    assert content(tmp_path / "out") == content(tmp_path / "undisturbed")


def test_factors_that_a_power_cut_left_in_pieces_are_made_again(pair, tmp_path):
    log = tmp_path / "log"
    log.touch()
    run(pair, tmp_path / "out", log, dies_at=7)
    (tmp_path / "out.partial/0.3.0.safetensors").write_bytes(b"half")
    assert run(pair, tmp_path / "out", log) == 0
    assert len(log.read_text()) == MATRICES + 1
    assert command(pair, tmp_path / "undisturbed") == 0
    assert content(tmp_path / "out") == content(tmp_path / "undisturbed")


def test_two_processes_factorise_each_matrix_of_a_pair_once(pair, tmp_path):
    """Layers are claimed: two processes that are given all of them share them."""
    recover_layers, log = layers.recover_layers, tmp_path / "log"
    log.touch()

    def both(work, given):
        processes = [fork.Process(target=recover_layers, args=(work, given)) for _ in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)

    layers.recover_layers = both
    try:
        assert run(pair, tmp_path / "out", log) == 0
    finally:
        layers.recover_layers = recover_layers
    assert len(log.read_text()) == MATRICES
    assert command(pair, tmp_path / "alone") == 0
    assert content(tmp_path / "out") == content(tmp_path / "alone")


@pytest.mark.parametrize(
    ("flags", "differs"),
    [
        (("--layers", "0"), "recipe and matrices"),
        (("--dtype", "float32"), "dtype"),
        (("--source", "target"), "source"),
    ],
)
def test_what_is_unfinished_is_not_taken_for_another_recovery(pair, tmp_path, capsys, flags, differs):
    log = tmp_path / "log"
    log.touch()
    run(pair, tmp_path / "out", log, dies_at=7)
    before = sorted(tmp_path.rglob("*"))
    flags = [str(pair[1]) if flag == "target" else flag for flag in flags]
    assert command(pair, tmp_path / "out", *flags) == 2
    expected = f"out.partial is an unfinished recovery with another {differs}; remove it"
    assert expected in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_two_runs_do_not_fill_one_folder(pair, tmp_path, capsys):
    from filelock import FileLock

    (tmp_path / "out.partial").mkdir()
    with FileLock(tmp_path / "out.partial" / "lock"):
        assert command(pair, tmp_path / "out") == 2
    assert "out.partial: another run is filling it" in capsys.readouterr().err


def test_without_a_terminal_there_is_a_line_for_each_layer(pair, tmp_path, capsys):
    assert command(pair, tmp_path / "out") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("points24: recover: ")]
    assert [line.split(": ")[2] for line in lines] == ["layer 0", "layer 1"]
    assert lines[1].endswith("2 of 2 done")


def test_a_worker_that_ends_early_leaves_what_it_did(pair, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("points24.harness.recovery.layers.recover_layers", idle)
    assert command(pair, tmp_path / "out") == 1
    expected = "points24: 2 of 2 layers are not done; the same command goes on with them"
    assert expected in capsys.readouterr().err
    monkeypatch.undo()
    assert command(pair, tmp_path / "out") == 0


def idle(work, layers):
    pass


SUBMITIT = ("--executor", "slurm", "--executor-args", "cluster=debug")
LOCAL = ("--executor", "slurm", "--workers", "2", "--executor-args", "cluster=local", "timeout_min=5")


@pytest.mark.parametrize(
    "flags",
    [
        SUBMITIT,
        pytest.param(("--workers", "2"), marks=pytest.mark.slow),
        pytest.param(LOCAL, marks=pytest.mark.slow),
        pytest.param(("--executor", "ray", "--workers", "2"), marks=pytest.mark.slow),
    ],
)
def test_other_processes_give_the_same_bytes(pair, tmp_path, flags):
    assert command(pair, tmp_path / "alone") == 0
    assert command(pair, tmp_path / "out", *flags) == 0
    assert content(tmp_path / "out") == content(tmp_path / "alone")


@pytest.mark.slow
def test_bad_input_that_another_process_finds_is_named(pair, tmp_path, capsys):
    from tests.harness.recovery.test_bad_input import change_weights

    change_weights(pair[0], lambda t: t["model.layers.1.mlp.up_proj.weight"].fill_(float("nan")))
    assert command(pair, tmp_path / "out", "--workers", "2") == 2
    assert "model.layers.1.mlp.up_proj.weight: NaN" in capsys.readouterr().err
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--workers", "0"), "workers: expected at least 1, found 0"),
        (("--executor-args", "num_gpus=1"), "executor_args go with executor slurm or ray"),
        (("--executor", "slurm", "--executor-args", "cluster=nowhere"), "executor_args: "),
    ],
)
def test_bad_workers_are_named(pair, tmp_path, capsys, flags, message):
    assert command(pair, tmp_path / "out", *flags) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.partial").exists()


def test_a_missing_package_is_named(pair, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert command(pair, tmp_path / "out", "--executor", "slurm") == 2
    assert "executor slurm: submitit is not installed" in capsys.readouterr().err
