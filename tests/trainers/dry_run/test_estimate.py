import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, LlamaConfig, MllamaConfig

from points24.harness.checkpoints.shipped import model_folder
from points24.harness.cli import main
from points24.harness.config import config_file, read_settings, shipped_configs
from points24.trainers.dry_run.estimate import checkpoint_steps
from points24.trainers.dry_run.memory import memory, sharding
from points24.trainers.dry_run.shape import auto_class, shape_of

pytest.importorskip("trl")

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
    for word in ("settings given", "optimiser steps", "checkpoints", "memory of each device", "torchrun"):
        assert word in shown
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "trainer"), SHIPPED)
def test_the_command_for_one_process_keeps_the_batch(name, trainer, capsys):
    of_many = dry(capsys, trainer, "--config", name)
    words = of_many["commands"]["one process"].split()
    of_one = dry(capsys, trainer, *words[3:])
    assert of_one["estimate"]["processes"] == 1
    assert of_one["estimate"]["work"] == of_many["estimate"]["work"]


@pytest.mark.parametrize("name", ["qwen2.5-7b.yaml", "llama-3.2-11b.yaml"])
def test_the_papers_hyperparameters(name):
    path = config_file(name)
    ppo, sft = read_settings(path, section="ppo"), read_settings(path, section="sft")
    paper = {
        "epsilon": 0.1, "num_iterations": 4, "turn_gamma": 0.9, "turn_lam": 0.95, "vf_coef": 0.5, "entropy_coef": 0.01,
        "max_grad_norm": 0.01, "learning_rate": 1e-6, "temperature": 0.2, "max_turns": 5, "rewards": "paper",
    }  # fmt: skip
    assert {key: ppo[key] for key in paper} == paper
    paper = {
        "learning_rate": 1e-6, "lr_scheduler_type": "cosine", "warmup_steps": 0.03, "per_device_train_batch_size": 16,
    }  # fmt: skip
    assert {key: sft[key] for key in paper} == paper
    assert 90 in sft["save_at"]
    assert sft["max_steps"] == 1600


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


def test_a_model_out_of_reach_leaves_the_memory_unknown_and_says_so(capsys):
    found = dry(capsys, "sft", "output_dir=x", "max_steps=2", "model_name_or_path=nobody/nothing")
    assert found["estimate"]["shape"] is None
    assert found["estimate"]["memory"] == []
    assert found["estimate"]["work"]["steps"] == 2
    assert any("nobody/nothing is out of reach" in note for note in found["notes"])


# -- counts of parameters --------------------------------------------------------------------------------


def test_qwen_0_5b_by_hand():
    attention = 896 * 896 + 896 + 2 * (896 * 128 + 128) + 896 * 896
    layer = attention + 3 * 896 * 4864 + 2 * 896
    assert 24 * layer + 151936 * 896 + 896 == 494_032_768
    assert shape_of("Qwen/Qwen2.5-0.5B-Instruct").parameters == 494_032_768


def test_qwen_7b_by_hand():
    attention = 3584 * 3584 + 3584 + 2 * (3584 * 512 + 512) + 3584 * 3584
    layer = attention + 3 * 3584 * 18944 + 2 * 3584
    assert 28 * layer + 2 * 152064 * 3584 + 3584 == 7_615_616_512
    shape = shape_of("Qwen/Qwen2.5-7B-Instruct")
    assert (shape.parameters, shape.layer) == (7_615_616_512, layer)


def test_llama_11b_on_text_trains_the_8b_model_and_eight_more_rows_of_embedding():
    shape = shape_of("meta-llama/Llama-3.2-11B-Vision-Instruct")
    assert shape.parameters == 10_670_220_835  # as published with the weights
    attention = 2 * 4096 * 4096 + 2 * 4096 * 1024
    layer = attention + 3 * 4096 * 14336 + 2 * 4096
    assert shape.reached == 32 * layer + (2 * 128256 + 8) * 4096 + 4096


def test_a_model_of_text_and_images_is_loaded_whole():
    assert auto_class(MllamaConfig()).__name__ == "AutoModelForImageTextToText"
    assert auto_class(LlamaConfig()).__name__ == "AutoModelForCausalLM"


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj"], r".*layers\.[01]\.mlp\.up_proj"])
def test_an_adapter_has_as_many_parameters_as_pefts(targets):
    peft = pytest.importorskip("peft")
    model = AutoModelForCausalLM.from_pretrained(model_folder("nano-base"), dtype=torch.float32)
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=targets)
    trained = sum(p.numel() for p in peft.get_peft_model(model, config).parameters() if p.requires_grad)
    assert shape_of(model_folder("nano-base"), targets).adapter(4) == trained


# -- memory ----------------------------------------------------------------------------------------------


def settings(**changed):
    plain = {
        "world_size": 1, "dtype": "float32", "bf16": False, "fp16": False, "fsdp": None, "fsdp_config": None,
        "deepspeed": None, "optim": "adamw_torch_fused", "per_device_train_batch_size": 4, "lora_r": 4,
    }  # fmt: skip
    return SimpleNamespace(**plain | changed)


def size(tensors):
    return sum(t.numel() * t.element_size() for t in tensors)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_gradients_and_moments_are_those_of_a_real_step(dtype):
    folder = model_folder("nano-base")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    optimizer = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.ones(2, 5, dtype=torch.long)).logits.sum().backward()
    optimizer.step()
    moments = [state[key] for state in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")]
    found = memory(shape_of(folder), settings(dtype=dtype), 5, checkpointing=False, lora=False)
    assert found.weights == size(model.parameters())
    assert found.gradients == size(p.grad for p in model.parameters() if p.grad is not None)
    assert found.optimizer == size(moments)


def test_a_reference_model_is_another_copy_and_an_adapter_needs_none():
    shape = shape_of("Qwen/Qwen2.5-0.5B-Instruct")
    config = settings(beta=0.1)
    full = memory(shape, config, 64, checkpointing=True, lora=False)
    adapter = memory(shape, config, 64, checkpointing=True, lora=True)
    assert full.reference == full.weights
    assert adapter.reference == 0
    assert adapter.optimizer == 2 * 4 * shape.adapter(4)


def test_fsdp_divides_by_the_processes():
    shape = shape_of("Qwen/Qwen2.5-7B-Instruct")
    config = settings(world_size=8, fsdp=True, fsdp_config={}, dtype="bfloat16", bf16=True)
    found = memory(shape, config, 64, checkpointing=True, lora=False)
    assert found.weights == found.gradients == 4 * shape.parameters // 8  # FSDP keeps fp32
    assert found.optimizer == 2 * found.weights


@pytest.mark.parametrize(
    ("stage", "divided"), [(1, (1, 1, 4)), (2, (1, 4, 4)), (3, (4, 4, 4))], ids=["ZeRO-1", "ZeRO-2", "ZeRO-3"]
)
def test_zero_divides_by_stage(stage, divided):
    found = sharding(settings(world_size=4, deepspeed={"zero_optimization": {"stage": stage}}))
    assert (found.weights, found.gradients, found.optimizer) == divided


def test_checkpointing_saves_activations_and_nothing_else():
    shape = shape_of("Qwen/Qwen2.5-7B-Instruct")
    kept = memory(shape, settings(), 200, checkpointing=False, lora=False)
    recomputed = memory(shape, settings(), 200, checkpointing=True, lora=False)
    assert recomputed.activations < kept.activations / 5
    assert kept.total - recomputed.total == kept.activations - recomputed.activations


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
    )["estimate"]  # fmt: skip
    # 100 rows are 7 batches of 2 x 8, and these 4 steps of 2.
    assert found["work"]["steps"] == 8
    assert found["work"]["rows_per_step"] == 32


def test_tokens_of_nano_are_counted_with_its_tokenizer(capsys):
    found = dry(capsys, "sft", "--config", "nano.yaml")["estimate"]
    assert found["lengths"]["measured"]
    assert 0 < found["work"]["trained_tokens"] < found["work"]["tokens"] < 25600 * found["lengths"]["longest"]


def test_ppo_counts_replies_and_tokens(capsys):
    work = dry(
        capsys, "ppo", "output_dir=x", "max_steps=12", "per_device_train_batch_size=4", "steps_per_generation=2",
        "num_iterations=3", "gradient_accumulation_steps=1", "max_turns=2", "apply_chat_template=true",
        "max_completion_length=10", "save_steps=6", "report_to=none",
    )["estimate"]["work"]  # fmt: skip
    # A rollout of 8 episodes feeds 3 epochs of 2 steps.
    assert (work["rollouts"], work["episodes"], work["replies_at_most"]) == (2, 16, 32)
    assert (work["generated_tokens_at_most"], work["trained_tokens_at_most"]) == (320, 960)
