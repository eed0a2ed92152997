import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, MllamaConfig

from points24.harness.checkpoints.shipped import model_folder
from points24.harness.cli import main
from points24.harness.config import config_file, override, read_settings, shipped_configs
from points24.trainers import ppo, sft
from points24.trainers.dry_run.dry_run import checkpoint_steps, model_size
from points24.trainers.run.folder import RunFolder
from points24.trainers.run.models import auto_class
from points24.trainers.sft import SFTConfig
from tests.trainers.conftest import SETTINGS

SHIPPED = [
    (name, trainer)
    for name in shipped_configs()
    for trainer in yaml.safe_load(Path(config_file(name) or name).read_text())
    if trainer in ("sft", "ppo")
]


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)


def dry(capsys, trainer, *arguments):
    """The dry run, as JSON."""
    assert main(["train", trainer, "--dry-run", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


# -- every shipped configuration -------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "trainer"), SHIPPED)
def test_a_shipped_configuration_is_explained_offline_and_nothing_is_written(name, trainer, capsys, tmp_path):
    assert main(["train", trainer, "--config", name, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    for word in ("settings given", "optimiser steps", "checkpoints", "torchrun"):
        assert word in shown
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "trainer"), SHIPPED)
def test_the_command_for_one_process_keeps_the_batch(name, trainer, capsys):
    of_many = dry(capsys, trainer, "--config", name)
    words = of_many["commands"]["one process"].split()
    of_one = dry(capsys, trainer, *words[3:])
    assert of_one["processes"] == 1
    assert of_one["work"] == of_many["work"]
    for command in of_many["commands"].values():
        keys = [word.partition("=")[0] for word in command.split() if "=" in word]
        assert len(set(keys)) == len(keys), command


@pytest.mark.parametrize("name", ["qwen2.5-7b.yaml", "llama-3.2-11b.yaml"])
def test_the_papers_hyperparameters(name):
    path = config_file(name)
    ppo, sft = read_settings(path, section="ppo"), read_settings(path, section="sft")
    paper = {
        "epsilon": 0.1, "num_iterations": 4, "turn_gamma": 0.9, "turn_lam": 0.95, "vf_coef": 0.5, "vf_clip": 0.1,
        "max_grad_norm": 0.01, "learning_rate": 1e-6, "temperature": 0.2, "max_turns": 5, "rewards": "paper",
        "protocol": "paper", "entropy_coef": 0.0, "max_completion_length": 512, "num_processes": 4,
        "lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 1e-9}, "adam_epsilon": 1e-7,
    }  # fmt: skip
    assert {key: ppo[key] for key in paper} == paper
    paper = {
        "learning_rate": 1e-6, "lr_scheduler_type": "constant_with_warmup", "per_device_train_batch_size": 16,
        "num_processes": 4, "protocol": "paper", "adam_beta1": 0.9, "adam_beta2": 0.98, "adam_epsilon": 1e-7,
    }  # fmt: skip
    assert {key: sft[key] for key in paper} == paper
    assert {90, {"qwen2.5-7b.yaml": 120, "llama-3.2-11b.yaml": 140}[name]} <= set(sft["save_at"])
    assert sft["max_steps"] == 1600


@pytest.mark.parametrize(
    ("name", "updates", "replies"), [("llama-3.2-11b.yaml", 100, 128), ("qwen2.5-7b.yaml", 300, 32)]
)
def test_the_papers_updates(name, updates, replies, capsys):
    found = dry(capsys, "ppo", "--config", name)
    # The paper accumulates 128 replies a process into a step, through four epochs; an episode has up to five.
    assert found["work"]["rollouts"] == updates
    assert found["work"]["steps_per_rollout"] == 4 * replies // 128
    per_process = found["work"]["episodes"] / updates / 4
    assert per_process <= replies <= 5 * per_process


@pytest.mark.parametrize("name", ["qwen2.5-7b.yaml", "llama-3.2-11b.yaml"])
def test_every_setting_of_the_papers_configs_says_where_it_comes_from(name):
    lines = re.findall(
        r"^  (\w+):(.*)$", Path(str(config_file(name))).read_text().split("\nsweep:")[0], re.MULTILINE
    )
    said = {key for key, rest in lines if "#" in rest}
    assert {key for key, _ in lines} - said == {"output_dir"}
    assert {"protocol", "learning_rate", "rewards", "entropy_coef"} <= said


def test_an_unknown_key_is_refused_in_one_line(capsys):
    assert main(["train", "sft", "--config", "nano.yaml", "--dry-run", "lerning_rate=1"]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "unknown key 'lerning_rate'" in message


def test_flags_of_the_dry_run_are_refused_without_it(capsys):
    assert main(["train", "sft", "--config", "nano.yaml", "--processes", "2"]) == 2
    assert "go with --dry-run" in capsys.readouterr().err


def test_a_run_with_another_number_of_processes_than_its_settings_is_refused(capsys, tmp_path):
    assert main(["train", "sft", "--config", "nano.yaml", "num_processes=8"]) == 2
    assert "for 8, found 1" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_model_out_of_reach_leaves_its_size_unknown_and_says_so(capsys):
    found = dry(capsys, "sft", "output_dir=x", "max_steps=2", "model_name_or_path=nobody/nothing")
    assert found["parameters"] is found["checkpoint_bytes"] is found["work"]["tokens"] is None
    assert found["work"]["steps"] == 2
    assert any("config.json of nobody/nothing" in note for note in found["notes"])


# -- counts of parameters --------------------------------------------------------------------------------


def test_a_folder_that_the_run_would_refuse_is_refused(capsys, tmp_path):
    shutil.copytree(model_folder("nano-base"), tmp_path / "cut")
    os.truncate(tmp_path / "cut/model.safetensors", 1000)
    assert main(["train", "sft", "--dry-run", "model_name_or_path=cut", "output_dir=out", "max_steps=1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "model.safetensors" in line


def test_an_untrained_parent_is_counted_by_the_model_that_stands_in_for_it(capsys):
    found = dry(capsys, "ppo", "--config", "nano.yaml")
    assert any("nano-base stands in" in note for note in found["notes"])
    # Embeddings and head are tied; a layer has 4 matrices of attention, 3 of the MLP and 2 norms.
    vocabulary, hidden, inner = AutoConfig.from_pretrained(model_folder("nano-base")).vocab_size, 160, 432
    layer = 4 * hidden**2 + 3 * hidden * inner + 2 * hidden
    model = 2 * vocabulary * hidden + 4 * layer + hidden
    assert (found["parameters"], found["trained_parameters"]) == (model, model + hidden + 1)


def test_a_deepspeed_file_that_is_missing_is_refused_in_one_line(capsys):
    assert main(["train", "sft", "--config", "nano.yaml", "--dry-run", "deepspeed=zero.json"]) == 2
    assert "expected a mapping or a JSON file, found 'zero.json'" in capsys.readouterr().err


def test_a_model_of_text_and_images_is_loaded_whole():
    assert auto_class(MllamaConfig()).__name__ == "AutoModelForImageTextToText"
    assert auto_class(LlamaConfig()).__name__ == "AutoModelForCausalLM"


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj"], r".*layers\.[01]\.mlp\.up_proj"])
def test_an_adapter_has_as_many_parameters_as_pefts(targets):
    peft = pytest.importorskip("peft")
    model = AutoModelForCausalLM.from_pretrained(model_folder("nano-base"), dtype=torch.float32)
    count = model.num_parameters()
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=targets)
    trained = sum(p.numel() for p in peft.get_peft_model(model, config).parameters() if p.requires_grad)
    settings = {"lora_target_modules": targets, "lora_r": 4, "use_peft": True, "output_dir": "x"}
    assert model_size(SFTConfig(**settings, max_steps=1, use_cpu=True))[:2] == (count, trained)


# -- a real run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trainer", "changed"),
    [
        ("sft", {}),
        ("sft", {"apply_chat_template": True, "dtype": "bfloat16"}),
        ("sft", {"use_peft": True, "lora_r": 4}),
        ("ppo", {}),
    ],
    ids=["sft", "sft-chat-bfloat16", "sft-lora", "ppo"],
)
def test_tokens_and_bytes_are_those_of_a_run(trainer, changed, capsys, tmp_path, monkeypatch):
    if "use_peft" in changed:
        pytest.importorskip("peft")
    settings = SETTINGS[trainer] | {"score_tasks": [], "output_dir": str(tmp_path / "run")} | changed
    expected = dry(capsys, trainer, *(override(key, value) for key, value in settings.items()))
    monkeypatch.setattr(RunFolder, "finish", lambda run: None)  # which removes the states
    run = {"sft": sft.train, "ppo": ppo.train}[trainer](settings)
    assert expected["checkpoint_steps"] == [4, 8]
    for step in expected["checkpoint_steps"]:
        written = (run.checkpoint(step) / "model.safetensors").stat().st_size
        assert 0 <= written - expected["checkpoint_bytes"] < 10_000  # the header
    names = ("optimizer.pt", "adapter_model.safetensors")
    states = sum(path.stat().st_size for path in run.state.rglob("*") if path.name in names)
    assert 0 <= states - expected["states_bytes"] < 150_000  # headers of the files
    if trainer == "sft":
        rows = [json.loads(line) for line in run.log.read_text().splitlines()]
        assert expected["work"]["tokens"] == max(row.get("num_tokens", 0) for row in rows)


# -- work and disk ---------------------------------------------------------------------------------------


def saving(strategy, steps, at=()):
    return SimpleNamespace(save_strategy=SimpleNamespace(value=strategy), save_steps=steps, save_at=list(at))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (saving("steps", 4), (4, 8, 10)),
        (saving("steps", 0.5), (5, 10)),
        (saving("steps", 5, at=[1, 2, 99]), (1, 2, 5, 10)),
        (saving("no", 5, at=[3]), (3,)),
        (saving("epoch", 5), (3, 6, 9)),
    ],
)
def test_steps_of_checkpoints(config, expected):
    assert checkpoint_steps(config, 10, 3) == expected


def test_an_epoch_of_rows_is_counted_as_trainer_does(capsys):
    found = dry(
        capsys, "sft", "output_dir=x", "num_samples=100", "num_train_epochs=2", "per_device_train_batch_size=8",
        "gradient_accumulation_steps=2", "--processes", "2",
    )  # fmt: skip
    # 100 rows are 7 batches of 2 x 8, and these 4 steps of 2.
    assert found["work"]["steps"] == 8
    assert found["work"]["rows_per_step"] == 32


def test_tokens_of_nano_are_counted_with_its_tokenizer(capsys):
    work = dry(capsys, "sft", "--config", "nano.yaml")["work"]
    assert 0 < work["trained_tokens"] < work["tokens"] < 25600 * 64


def test_ppo_counts_replies_and_tokens(capsys):
    work = dry(
        capsys, "ppo", "output_dir=x", "max_steps=12", "per_device_train_batch_size=4", "steps_per_generation=2",
        "num_iterations=3", "gradient_accumulation_steps=1", "max_turns=2", "apply_chat_template=true",
        "max_completion_length=10", "save_steps=6", "report_to=none",
    )["work"]  # fmt: skip
    # A rollout of 8 episodes feeds 3 epochs of 2 steps.
    assert (work["rollouts"], work["episodes"], work["replies_at_most"]) == (2, 16, 32)
    assert (work["generated_tokens_at_most"], work["trained_tokens_at_most"]) == (320, 960)
