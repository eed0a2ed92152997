"""What SFT and PPO runs share: folders, records, resuming, several processes, bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from lm_eval.evaluator import simple_evaluate
from lm_eval.tasks import TaskManager
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from points24.harness.checkpoints.digest import weights_digest
from points24.harness.checkpoints.shipped import model_folder
from points24.harness.cli import main
from points24.harness.files import sha256
from points24.tasks.errors import InputError
from points24.tasks.lm_eval.files import TASK_FILES
from points24.tasks.protocols.protocol import read_protocol
from points24.trainers import grpo, ppo, rloo, sft
from points24.trainers.objectives.objective import ObjectiveTrainer
from points24.trainers.run.config import CURVE_TASKS
from points24.trainers.run.folder import VALUE_HEAD, RunFolder
from tests.trainers.conftest import SETTINGS

TRAIN = {"sft": sft.train, "ppo": ppo.train, "grpo": grpo.train, "rloo": rloo.train}
TRAINERS = ["ppo", "sft", *(pytest.param(name, marks=pytest.mark.slow) for name in ("grpo", "rloo"))]
"""The slow ones have nothing of their own but their class and its settings."""


def overrides(settings: dict) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in settings.items()]


def command(trainer: str, settings: dict) -> list[str]:
    return ["-m", "points24.harness.cli", "train", trainer, *overrides(settings)]


@pytest.fixture(scope="module", params=TRAINERS)
def trainer(request):
    return request.param


@pytest.fixture(scope="module")
def run(trainer, tmp_path_factory):
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("runs") / trainer
    return TRAIN[trainer](SETTINGS[trainer] | {"output_dir": str(folder)})


def log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[tuple]:
    return [(row["step"], row["loss"], row["grad_norm"]) for row in log(folder) if "loss" in row]


# -- the folder ------------------------------------------------------------------------------------------


def test_a_checkpoint_is_a_plain_model_folder(run, trainer):
    for step in (4, 8):
        folder = run.checkpoint(step)
        names = {path.name for path in folder.iterdir()} - {VALUE_HEAD}
        base = {path.name for path in model_folder("nano-base").iterdir()} - {"log.jsonl"}
        assert names == base
        theirs, ours = (
            json.loads((path / "config.json").read_text()) for path in (model_folder("nano-base"), folder)
        )
        assert ours == theirs | {
            "dtype": "float32", "transformers_version": transformers.__version__
        }  # fmt: skip
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
        assert model.dtype == torch.float32
        assert AutoTokenizer.from_pretrained(folder).eos_token_id == 1
    assert (run.checkpoint(8) / VALUE_HEAD).exists() == (trainer == "ppo")


def test_no_weight_of_the_critic_is_among_the_models(run):
    names = load_file(run.checkpoint(8) / "model.safetensors").keys()
    assert names == load_file(model_folder("nano-base") / "model.safetensors").keys()


def test_training_has_changed_the_weights(run):
    digests = {weights_digest(run.checkpoint(step)) for step in (4, 8)}
    assert len(digests) == 2


def test_a_finished_run_leaves_nothing_to_resume_from_and_names_its_checkpoints(run):
    assert not run.state.exists()
    assert (run.path / "final").resolve() == run.checkpoint(8).resolve()
    assert (run.path / "best-ood").resolve().name in {"checkpoint-4", "checkpoint-8"}
    assert json.loads((run.path / "curve.json").read_text())["final"] == 8


def test_a_checkpoint_says_where_it_comes_from(run, trainer):
    about = json.loads((run.checkpoint(4) / "training.json").read_text())
    assert about["stage"] == trainer.upper()
    assert about["step"] == 4
    assert about["parent"] == {
        "name": "nano-base",
        "weights_sha256": sha256(model_folder("nano-base") / "model.safetensors"),
    }
    assert about["config"] == SETTINGS[trainer]
    assert about["protocol_digest"] == read_protocol("points24").digest
    assert about["versions"]["trl"].startswith("1.16.")
    assert about["command"]


def test_records_hold_parent_and_checkpoints_on_every_task(run, trainer):
    found = {(r.model, r.stage, r.step, r.parent, r.task, r.filter) for r in run.records()}
    expected = set()
    for task in CURVE_TASKS:
        for name in ("strict-match", "flexible-extract"):
            expected.add(("nano-base", None, None, None, task, name))
            for step in (4, 8):
                model = f"{trainer}/checkpoint-{step}"
                expected.add((model, trainer.upper(), step, "nano-base", task, name))
    assert found == expected


def test_scores_reach_the_log(run):
    rows = [row for row in log(run.path) if "score/points24_ood/strict-match" in row]
    assert [row["step"] for row in rows] == [0, 4, 8]


# -- the curve -------------------------------------------------------------------------------------------


def test_scores_are_those_of_lm_eval_deal_by_deal(run):
    results: Any = simple_evaluate(
        model="hf",
        model_args={"pretrained": str(run.checkpoint(8)), "dtype": "float32"},
        tasks=list(CURVE_TASKS),
        task_manager=TaskManager(include_path=str(TASK_FILES), include_defaults=False),
        batch_size=32,
        device="cpu",
        limit=16,
    )
    for record in (r for r in run.records() if r.step == 8):
        assert results["results"][record.task][f"acc,{record.filter}"] == record.k / record.n
        outcomes = {
            row["doc_id"]: json.loads(row["filtered_resps"][0])["verdict"] == "correct"
            for row in results["samples"][record.task]
            if row["filter"] == record.filter
        }
        assert "".join("01"[outcomes[i]] for i in range(record.n)) == record.outcomes


def test_scoring_does_not_disturb_training(run, trainer, tmp_path):
    settings = SETTINGS[trainer] | {"score_tasks": [], "output_dir": str(tmp_path / "unscored")}
    unscored = TRAIN[trainer](settings)
    assert losses(unscored.path) == losses(run.path)
    assert weights_digest(unscored.checkpoint(8)) == weights_digest(run.checkpoint(8))
    assert unscored.records() == []


# -- interruption ----------------------------------------------------------------------------------------


def test_killed_and_resumed_equals_undisturbed(run, trainer, tmp_path):
    folder = tmp_path / trainer
    settings = SETTINGS[trainer] | {"output_dir": str(folder)}
    process = subprocess.Popen([sys.executable, *command(trainer, settings)], stderr=subprocess.DEVNULL)
    complete = folder / "state" / "checkpoint-4" / "complete"
    until = time.monotonic() + 120
    while not complete.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert complete.exists()
    assert not (folder / "final").exists()

    resumed = TRAIN[trainer](settings)
    for name in ("model.safetensors", VALUE_HEAD) if trainer == "ppo" else ("model.safetensors",):
        assert sha256(resumed.checkpoint(8) / name) == sha256(run.checkpoint(8) / name)
    assert losses(folder) == losses(run.path)
    assert [r.outcomes for r in resumed.records()] == [r.outcomes for r in run.records()]


def test_killed_after_its_last_step_a_run_is_only_finished(run, trainer, tmp_path, monkeypatch):
    settings = SETTINGS[trainer] | {"score_tasks": [], "output_dir": str(tmp_path / trainer)}

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            TRAIN[trainer](settings)
    finished = TRAIN[trainer](settings)
    assert sorted(path.name for path in finished.path.glob("*oint-*")) == ["checkpoint-4", "checkpoint-8"]
    assert weights_digest(finished.path / "final") == weights_digest(run.checkpoint(8))
    assert losses(finished.path) == losses(run.path)


@pytest.mark.slow
def test_killed_a_little_later_each_time_until_it_is_done_equals_undisturbed(run, trainer, tmp_path):
    folder = tmp_path / trainer
    settings = SETTINGS[trainer] | {"output_dir": str(folder)}
    kills = 0
    while not (folder / "final").exists():
        process = subprocess.Popen([sys.executable, *command(trainer, settings)], stderr=subprocess.DEVNULL)
        try:
            process.wait(4 + 0.4 * kills)
        except subprocess.TimeoutExpired:
            kills += 1
            process.kill()
            process.wait()
        assert kills < 60
    assert kills
    for name in ("model.safetensors", VALUE_HEAD) if trainer == "ppo" else ("model.safetensors",):
        assert sha256(folder / "final" / name) == sha256(run.checkpoint(8) / name)
    assert losses(folder) == losses(run.path)
    assert [r.outcomes for r in RunFolder(folder).records()] == [r.outcomes for r in run.records()]


def test_training_flushes_denormal_numbers(tmp_path, monkeypatch):
    def smaller() -> float:
        return (torch.full((1,), 1e-38) * 0.1).item()

    seen, whole = [], ObjectiveTrainer.training_step
    monkeypatch.setattr(
        ObjectiveTrainer, "training_step", lambda *args, **kw: seen.append(smaller()) or whole(*args, **kw)
    )
    sft.train(SETTINGS["sft"] | {"output_dir": str(tmp_path / "run"), "max_steps": 1, "score_tasks": []})
    assert seen == [0.0]
    assert smaller() > 0


def test_a_changed_setting_is_named_and_nothing_is_touched(run, trainer, capsys):
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    settings = SETTINGS[trainer] | {"output_dir": str(run.path), "learning_rate": 0.5, "seed": 3}
    assert main(["train", trainer, *overrides(settings)]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "learning_rate was 0.0001, is 0.5; seed was 42, is 3" in message
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_a_finished_run_is_not_trained_again(run, trainer, capsys):
    settings = SETTINGS[trainer] | {"output_dir": str(run.path)}
    (run.state / "checkpoint-8").mkdir(parents=True)  # as after a kill just before the end
    before = weights_digest(run.checkpoint(8)), losses(run.path)
    assert main(["train", trainer, *overrides(settings)]) == 0
    said = capsys.readouterr()
    assert "this run is finished already" in said.err
    assert said.out.splitlines()[-1] == str(run.path)
    assert before == (weights_digest(run.checkpoint(8)), losses(run.path))
    assert not run.state.exists()


def test_terminated_it_says_how_to_go_on(trainer, tmp_path):
    folder = tmp_path / trainer
    settings = SETTINGS[trainer] | {"score_tasks": [], "output_dir": str(folder)}
    words = [sys.executable, *command(trainer, settings)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not (folder / "state").exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.terminate()
    said = process.communicate()[1].splitlines()
    assert (process.returncode, said[-1]) == (143, "points24: terminated; the same command goes on from here")
    assert not list(folder.rglob("*.partial"))


# -- several processes -----------------------------------------------------------------------------------


def test_two_processes_train_as_one(trainer, tmp_path):
    """The same global batch, with replies that sampling cannot change."""
    settings = SETTINGS[trainer] | {"max_steps": 2, "save_steps": 2, "score_tasks": []}
    if trainer != "sft":
        settings |= {"top_k": 1, "steps_per_generation": 1, "num_iterations": 1}
    train_by_one_and_two(trainer, settings, tmp_path)


def train_by_one_and_two(trainer: str, settings: dict, tmp_path: Path) -> None:
    """Train with one process and with two, and compare losses, gradients and weights."""
    one = settings | {"output_dir": str(tmp_path / "one"), "per_device_train_batch_size": 16}
    two = settings | {"output_dir": str(tmp_path / "two")}
    TRAIN[trainer](one)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launch, *command(trainer, two)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for (step, loss, norm), (_, their_loss, their_norm) in zip(
        losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True
    ):
        assert loss == pytest.approx(their_loss, abs=1e-5), step
        assert norm == pytest.approx(their_norm, rel=1e-4), step
    ours, theirs = (load_file(tmp_path / name / "final" / "model.safetensors") for name in ("one", "two"))
    # Adam divides a first gradient by itself: a rounding of it can turn into a share of one learning rate.
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in ours)


# -- LoRA ------------------------------------------------------------------------------------------------


def test_lora_checkpoints_hold_the_merged_weights(trainer, tmp_path):
    settings = SETTINGS[trainer] | {
        "use_peft": True,
        "max_steps": 4,
        "score_tasks": [],
        "learning_rate": 0.01,
    }
    run = TRAIN[trainer](settings | {"output_dir": str(tmp_path / "lora")})
    assert not list(run.checkpoint(4).glob("adapter*"))
    ours = load_file(run.checkpoint(4) / "model.safetensors")
    base = load_file(model_folder("nano-base") / "model.safetensors")
    assert ours.keys() == base.keys()
    changed = {name for name in base if not torch.equal(ours[name], base[name].float())}
    assert changed == {name for name in base if "_proj" in name}


# -- bad input -------------------------------------------------------------------------------------------


@pytest.fixture
def without_tokenizer(tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(model_folder("nano-base"), folder)
    for path in folder.glob("token*"):
        path.unlink()
    return folder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": "odd"}, "rule 'odd'"),
        ({"score_engine": "sglang"}, "score_engine: expected hf or vllm, found 'sglang'"),
        ({"score_tasks": ["points24_odd"]}, "score_tasks: unknown task 'points24_odd'; allowed: points24"),
        ({"template": "/nowhere"}, "template /nowhere"),
        (
            {"protocol": "odd"},
            "protocol: expected numbers or paper or points24, or a folder with protocol.yaml; found 'odd'",
        ),
        ({"dtype": "int8"}, "dtype: expected float32 or bfloat16 or float16, found 'int8'"),
        ({"learning_rat": 1}, "unknown key 'learning_rat'; allowed: model_name_or_path"),
        ({"learning_rate": "fast"}, "learning_rate: expected float, found 'fast'"),
        ({"save_strategy": "no"}, "save_strategy: expected steps or epoch, found no"),
        ({"save_at": [0]}, "save_at: expected steps from 1 on, found 0"),
        (
            {"model_name_or_path": "/nowhere"},
            "/nowhere: expected a folder or a model of the hub, found neither",
        ),
    ],
)
def test_bad_settings_are_one_line_and_leave_no_folder(trainer, tmp_path, capsys, settings, message):
    folder = tmp_path / "run"
    given = SETTINGS[trainer] | {"output_dir": str(folder)} | settings
    assert main(["train", trainer, *overrides(given)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("points24: error: ")
    assert message in error
    assert not folder.exists()


def test_a_parent_without_tokenizer_is_refused(trainer, tmp_path, without_tokenizer):
    settings = {"model_name_or_path": str(without_tokenizer), "output_dir": str(tmp_path / "run")}
    with pytest.raises(InputError, match="holds no tokenizer"):
        TRAIN[trainer](SETTINGS[trainer] | settings)
    assert not (tmp_path / "run").exists()


def test_somebody_elses_folder_is_left_alone(trainer, tmp_path):
    (tmp_path / "thesis.tex").write_text("dear reader")
    with pytest.raises(InputError, match="is not empty and holds no run"):
        TRAIN[trainer](SETTINGS[trainer] | {"output_dir": str(tmp_path)})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
