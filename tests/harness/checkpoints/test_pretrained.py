"""Opening a model that somebody else made: its code never runs, and damage is one line."""

import ast
import json
import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from points24 import harness, leaderboards, tasks, trainers
from points24.harness.checkpoints.locate import locate
from points24.harness.checkpoints.pretrained import from_pretrained
from points24.harness.checkpoints.shipped import model_folder
from points24.tasks.errors import InputError

CALLS = {"from_pretrained", "from_config"}
OWN = {"GenerationConfig"}  # reads a JSON file and has no such argument


@pytest.fixture
def folder(tmp_path) -> Path:
    return Path(shutil.copytree(model_folder("nano-base"), tmp_path / "model"))


def edit(folder: Path, file: str, **changes) -> None:
    settings = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(settings | changes))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (AutoTokenizer, {"auto_map": {"AutoTokenizer": ["code.Own", None]}, "tokenizer_class": "Own"}),
        (AutoConfig, {"auto_map": {"AutoConfig": "code.Own"}, "model_type": "own"}),
        (AutoModelForCausalLM, {"auto_map": {"AutoConfig": "code.Own"}, "model_type": "own"}),
    ],
)  # fmt: skip
def test_code_of_a_folder_never_runs_even_if_the_answer_is_yes(kind, changes, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _: "y")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    edit(folder, "tokenizer_config.json" if kind is AutoTokenizer else "config.json", **changes)
    with pytest.raises(InputError, match="code"):
        from_pretrained(kind, folder)
    assert not (tmp_path / "ran").exists()


def test_no_other_place_loads_a_model_without_saying_that_its_code_stays_out():
    found = []
    for package in (tasks, harness, trainers, leaderboards):
        for path in Path(str(package.__file__)).resolve().parent.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    of = node.func.value
                    is_ours = isinstance(of, ast.Name) and of.id in OWN
                    says = any(keyword.arg == "trust_remote_code" for keyword in node.keywords)
                    if node.func.attr in CALLS and not is_ours and not says:
                        found.append(f"{path}:{node.lineno}")
    assert found == []


def test_a_pipe_in_place_of_a_file_does_not_hang(folder):
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(InputError, match="expected a file, found a pipe"):
        from_pretrained(AutoModelForCausalLM, folder)


def test_more_layers_than_tensors_are_not_built(folder):
    edit(folder, "config.json", num_hidden_layers=1_000_000)
    with pytest.raises(InputError, match="num_hidden_layers is 1000000"):
        from_pretrained(AutoModelForCausalLM, folder)


def test_an_index_that_names_files_elsewhere_is_refused(folder):
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    index = {"weight_map": {"lm_head.weight": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="is no file in this folder"):
        from_pretrained(AutoModelForCausalLM, folder)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"[" * 100_000, b"not JSON"])
@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer_config.json"])
def test_damaged_files_are_one_line(file, content, folder):
    (folder / file).write_bytes(content)
    kind = AutoTokenizer if file.startswith("token") else AutoModelForCausalLM
    with pytest.raises(InputError) as refused:
        from_pretrained(kind, folder)
    assert "\n" not in str(refused.value)


def test_weights_of_another_shape_are_one_line(folder):
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["lm_head.weight"][:, :3].clone()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="cannot be loaded"):
        from_pretrained(AutoModelForCausalLM, folder)


def test_a_shipped_model_is_known_by_its_name():
    assert locate("nano-base") == model_folder("nano-base")


@pytest.mark.parametrize(
    "name", ["nano-sft/checkpoint-100", "run/final", "run/best-ood", "../run", "a/b/c", "/no", "-x/y"]
)
def test_a_path_that_is_not_there_is_not_asked_of_the_hub(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(InputError, match="expected a folder"):
        locate(name)
