"""What is refused of a model's folder before anything loads it, in one line and without touching what is outside."""

import json
import os
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from points24.harness.checkpoints.folder import inspect_folder, read_header
from points24.harness.checkpoints.locate import locate
from points24.harness.checkpoints.pretrained import from_pretrained
from points24.harness.checkpoints.shipped import model_folder
from points24.harness.cli import main
from points24.tasks.errors import InputError

WEIGHTS, CONFIG, INDEX = "model.safetensors", "config.json", "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path) -> Path:
    return Path(shutil.copytree(model_folder("nano-base"), tmp_path / "model"))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def outside(path: Path) -> None:
    stored = path.parent.parent / "stored"
    path.rename(stored)
    path.symlink_to(stored)


def link(path: Path, to: str) -> None:
    path.unlink()
    path.symlink_to(to)


def indexed(folder: Path, weight_map: object) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))


def configured(folder: Path, **changes: object) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | changes))


def stored(path: Path, header: bytes, size: int = 0, length: int | None = None) -> None:
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header) if length is None else length) + header)
        file.truncate(8 + len(header) + size)


HUGE = b'{"lm_head.weight": {"dtype": "U8", "shape": [1000000000000], "data_offsets": [0, 1000000000000]}}'
HOSTILE = {
    "weights are a pipe": (lambda f: pipe(f / WEIGHTS), "expected a file, found a pipe"),
    "config is a pipe": (lambda f: pipe(f / CONFIG), "expected a file, found a pipe"),
    "tokenizer is a pipe": (lambda f: pipe(f / "tokenizer.json"), "expected a file, found a pipe"),
    "weights outside": (lambda f: outside(f / WEIGHTS), "a link out of the model's folder"),
    "tokenizer outside": (lambda f: outside(f / "tokenizer.json"), "a link out of the model's folder"),
    "config is a device": (lambda f: link(f / CONFIG, "/dev/zero"), "a link out of the model's folder"),
    "a link to nothing": (lambda f: link(f / WEIGHTS, "gone"), "which does not exist"),
    "a link to itself": (lambda f: link(f / WEIGHTS, WEIGHTS), "which does not exist"),
    "a shard outside": (lambda f: indexed(f, {"a": "../x.safetensors"}), "is no file in this folder"),
    "an absolute shard": (lambda f: indexed(f, {"a": "/etc/passwd"}), "is no file in this folder"),
    "a list of shards": (lambda f: indexed(f, [1, 2]), "expected weight_map to name files"),
    "a number as shard": (lambda f: indexed(f, {"a": 5}), "expected weight_map to name files"),
    "a million layers": (lambda f: configured(f, num_hidden_layers=10**6), "num_hidden_layers is 1000000"),
    "as GPT-2 says it": (lambda f: configured(f, n_layer=10**6), "n_layer is 1000000"),
    "of its text": (lambda f: configured(f, text_config={"num_layers": 10**6}), "num_layers is 1000000"),
    "deep config": (lambda f: (f / CONFIG).write_text("[" * 100_000), "not JSON"),
    "no text": (lambda f: configured(f, model_type="\ud800"), "not JSON"),
    "deep index": (lambda f: (f / INDEX).write_text("[" * 100_000), "not JSON"),
    "a header of 2^63 bytes": (lambda f: stored(f / WEIGHTS, b"{}", length=2**63), "truncated"),
    "a terabyte of nothing": (lambda f: stored(f / WEIGHTS, HUGE, 10**12), "the disk holds almost none"),
    "bytes after the weights": (lambda f: os.truncate(f / WEIGHTS, 10**12), "the disk holds almost none"),
    "weights cut off": (lambda f: os.truncate(f / WEIGHTS, 10_000), "bytes, but its header describes|truncated"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_is_refused_before_anything_reads_it(name, folder):
    change, why = HOSTILE[name]
    change(folder)
    before = set(folder.parent.rglob("*"))
    with pytest.raises(InputError, match=why) as refused:
        locate(str(folder))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400
    assert set(folder.parent.rglob("*")) == before


def test_weights_that_were_cut_off_anywhere_are_refused(folder):
    """At every byte of the header, and at a thousand behind it."""
    weights = folder / WEIGHTS
    header = 8 + int.from_bytes(weights.read_bytes()[:8], "little")
    size = weights.stat().st_size
    places = [*range(header), *range(header, size, (size - header) // 1000)]
    for kept in reversed(places):
        os.truncate(weights, kept)
        with pytest.raises(InputError, match=r"truncated|but its header describes") as refused:
            read_header(weights)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("command", ["eval", "sft"])
def test_every_command_looks_before_it_digests(command, folder, tmp_path, capsys):
    pipe(folder / WEIGHTS)
    words = {
        "eval": ["eval", str(folder), "-o", str(tmp_path / "out"), "--tasks", "points24_ood", "--limit", "1"],
        "sft": [
            "train",
            "sft",
            f"model_name_or_path={folder}",
            f"output_dir={tmp_path / 'out'}",
            "max_steps=1",
        ],
    }
    assert main(words[command]) == 2
    assert f"{folder / WEIGHTS}: expected a file, found a pipe" in capsys.readouterr().err


def test_many_empty_tensors_are_read_and_no_model(folder):
    entries = {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(20_000)}
    stored(folder / WEIGHTS, json.dumps(entries).encode())
    assert len(read_header(folder / WEIGHTS)) == 20_000
    with pytest.raises(InputError, match="39 weights are missing"):
        from_pretrained(AutoModelForCausalLM, folder)


def test_the_hubs_cache_is_made_of_links_out_of_the_folder(folder, tmp_path):
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir(parents=True)
    (folder / WEIGHTS).rename(blobs / "0123")
    (folder / WEIGHTS).symlink_to(blobs / "0123")
    inspect_folder(folder)


def damaged(folder: Path, change) -> str:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    with pytest.raises(InputError) as refused:
        from_pretrained(AutoModelForCausalLM, folder)
    return str(refused.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_weight_that_is_no_number_is_refused_by_name(value, folder):
    name = "model.layers.0.mlp.up_proj.weight"
    message = damaged(folder, lambda weights: weights[name].view(-1)[7:8].copy_(torch.tensor([value])))
    assert message == f"{folder}: {name} holds NaN or an infinity"


def test_missing_weights_are_not_drawn_at_random(folder):
    name = "model.layers.0.mlp.up_proj.weight"
    assert (
        damaged(folder, lambda weights: weights.pop(name))
        == f"{folder}: 1 weights are missing, such as {name}"
    )


def test_a_configuration_that_transformers_refuses_is_one_line(folder):
    configured(folder, hidden_size=24 * 2**20)
    with pytest.raises(InputError, match="cannot be loaded: ") as refused:
        from_pretrained(AutoModelForCausalLM, folder)
    assert "\n" not in str(refused.value)


def test_a_pickle_never_runs(folder, tmp_path):
    (folder / WEIGHTS).unlink()
    program = f"cos\nsystem\n(S'touch {tmp_path / 'ran'}'\ntR."
    (folder / "pytorch_model.bin").write_bytes(program.encode())
    with pytest.raises(InputError, match="cannot be loaded: "):
        from_pretrained(AutoModelForCausalLM, folder)
    assert not (tmp_path / "ran").exists()
