"""The progress of training: one labelled line on a terminal, plain lines elsewhere."""

import io
import sys
from types import SimpleNamespace

import pytest

from points24.harness.experiment.progress import _percent
from points24.trainers.run.progress import Progress


class Screen(io.StringIO):
    def isatty(self):
        return True


def trained(stderr, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stderr)
    state = SimpleNamespace(is_world_process_zero=True, max_steps=40, global_step=0)
    progress = Progress("train nano-sft")
    call = {"args": None, "state": state, "control": None}
    progress.on_train_begin(**call)
    for step in range(1, 11):
        state.global_step = step
        progress.on_step_end(**call)
    progress.on_log(**call, logs={"loss": 0.12345, "learning_rate": 3e-4, "epoch": 1.0})
    progress.on_log(**call, logs={"train_runtime": 3.0})
    progress.on_train_end(**call)
    return stderr.getvalue()


def test_a_terminal_has_one_labelled_line_with_the_newest_figures(monkeypatch):
    shown = trained(Screen(), monkeypatch)
    assert "train nano-sft:  25%" in shown
    assert "loss=0.123, learning_rate=0.0003" in shown
    assert shown.count("\n") == 1
    assert "train_runtime" not in shown


def test_elsewhere_each_log_is_a_line_from_which_an_experiment_reads_how_far_it_is(monkeypatch, tmp_path):
    shown = trained(io.StringIO(), monkeypatch)
    assert shown == "train nano-sft: 10 of 40 (25%): loss 0.123, learning_rate 0.0003\n"
    (tmp_path / "log").write_text(shown)
    assert _percent(tmp_path / "log") == "25 %"


@pytest.mark.parametrize("tty", [False, True])
def test_other_processes_are_silent(monkeypatch, tty):
    stderr = Screen() if tty else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    state = SimpleNamespace(is_world_process_zero=False, max_steps=40, global_step=0)
    call = {"args": None, "state": state, "control": None}
    progress = Progress("x")
    progress.on_train_begin(**call)
    progress.on_log(**call, logs={"loss": 1.0})
    progress.on_train_end(**call)
    assert stderr.getvalue() == ""
