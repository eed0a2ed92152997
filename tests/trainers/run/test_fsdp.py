"""SFT and PPO with weights sharded over two processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from tests.trainers.conftest import SETTINGS
from tests.trainers.run.test_runs import TRAIN, losses, overrides

SHARDED = {"fsdp": True, "fsdp_config": {"state_dict_type": "FULL_STATE_DICT"}}
pytestmark = [pytest.mark.slow, pytest.mark.parametrize("trainer", ["sft", "ppo"])]


def settings_of(trainer: str) -> dict:
    """Replies that sampling cannot change."""
    given = SETTINGS[trainer] | {"max_steps": 4, "save_steps": 2, "score_tasks": []}
    return given | ({"top_k": 1, "steps_per_generation": 1, "num_iterations": 1} if trainer == "ppo" else {})


def sharded(trainer: str, settings: dict) -> subprocess.Popen:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    script = str(Path(__file__).parent / "fsdp_on_cpu.py")
    return subprocess.Popen(
        [*launch, script, "train", trainer, *overrides(settings | SHARDED)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def finished(process: subprocess.Popen) -> None:
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:]


def test_sharded_training_is_that_of_one_process(trainer, tmp_path):
    settings = settings_of(trainer)
    TRAIN[trainer](settings | {"output_dir": str(tmp_path / "one"), "per_device_train_batch_size": 16})
    finished(sharded(trainer, settings | {"output_dir": str(tmp_path / "two")}))
    pairs = zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True)
    for (step, loss, norm), (_, their_loss, their_norm) in pairs:
        assert loss == pytest.approx(their_loss, abs=1e-5), step
        assert norm == pytest.approx(their_norm, rel=1e-3), step
    ours, theirs = (load_file(tmp_path / name / "final" / "model.safetensors") for name in ("one", "two"))
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in ours)


def test_killed_it_resumes_to_the_same_weights(trainer, tmp_path):
    settings = settings_of(trainer) | {"max_steps": 16}
    finished(sharded(trainer, settings | {"output_dir": str(tmp_path / "whole")}))
    other = settings | {"output_dir": str(tmp_path / "killed")}
    process = sharded(trainer, other)
    until = time.monotonic() + 200
    while not (tmp_path / "killed" / "checkpoint-2").exists() and time.monotonic() < until:
        time.sleep(0.005)
    launcher = psutil.Process(process.pid)
    for each in [*launcher.children(recursive=True), launcher]:  # the workers have sessions of their own
        each.kill()
    process.communicate()
    assert not (tmp_path / "killed" / "final").exists()
    finished(sharded(trainer, other))
    ours, theirs = (
        load_file(tmp_path / name / "final" / "model.safetensors") for name in ("whole", "killed")
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert losses(tmp_path / "whole") == losses(tmp_path / "killed")
