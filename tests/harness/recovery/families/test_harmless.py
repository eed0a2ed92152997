"""Differences between two checkpoints of one model that say nothing about its weights, and folders with links."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from points24.harness.cli import main
from tests.harness.recovery.models import make_pair
from tests.harness.recovery.test_recover import recover, weights


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite(folder, rename: Callable[[str], str] = str, more: Mapping[str, torch.Tensor] | None = None):
    tensors = {rename(name): tensor for name, tensor in weights(folder).items()} | dict(more or {})
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


@pytest.fixture
def recovered(tmp_path):
    """The weights of a recovery, by the names of the target."""
    numbers = iter(range(9))

    def run(source, target) -> dict[str, torch.Tensor]:
        out = tmp_path / f"recovered{next(numbers)}"
        assert recover(source, target, out, "--ranks", "top 25%") == 0
        return weights(out)

    return run


def equal(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("which", [0, 1])
def test_buffers_on_one_side(tmp_path, recovered, which):
    pair = make_pair(tmp_path)
    plain = recovered(*pair)
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    rewrite(pair[which], more={name: torch.ones(4)})
    result = recovered(*pair)
    assert (name in result) == (which == 1)
    result.pop(name, None)
    assert equal(result, plain)


@pytest.mark.parametrize("which", [0, 1])
def test_gpt2s_names_with_and_without_their_container(tmp_path, recovered, which):
    """The hub's GPT-2 was saved without its head: ``h.0.attn…``, with the causal mask as a buffer."""
    pair = make_pair(tmp_path, "gpt2")
    plain = recovered(*pair)
    short = {name: name.removeprefix("transformer.") for name in plain}
    mask = {"h.0.attn.bias": torch.ones(1, 1, 8, 8, dtype=torch.uint8)}
    rewrite(pair[which], short.__getitem__, mask)
    result = recovered(*pair)
    result.pop("h.0.attn.bias", None)
    assert equal(result, plain if which == 0 else {short[name]: plain[name] for name in plain})


def test_old_and_new_names_of_a_model_of_text_and_images(tmp_path, recovered):
    pair = make_pair(tmp_path, "gemma3")
    plain = recovered(*pair)
    rewrite(pair[0], lambda name: name.replace("language_model.model.", "model.language_model."))
    assert equal(recovered(*pair), plain)


def test_architectures_that_one_side_does_not_name(tmp_path, recovered):
    pair = make_pair(tmp_path)
    change_config(pair[0], architectures=None)
    recovered(*pair)


def test_weights_and_configuration_behind_links(tmp_path, recovered):
    pair = make_pair(tmp_path)
    plain = recovered(*pair)
    (pair[1] / "stored").mkdir()
    for file in ("model.safetensors", "config.json", "tokenizer.json"):
        (pair[1] / file).rename(pair[1] / "stored" / file)
        (pair[1] / file).symlink_to(pair[1] / "stored" / file)
    assert equal(recovered(*pair), plain)
    assert not any(path.is_symlink() for path in (tmp_path / "recovered1").rglob("*"))


def test_links_below_the_folder(tmp_path, recovered):
    """wandb's own, to a folder and to nothing: they are no part of the checkpoint."""
    pair = make_pair(tmp_path)
    runs = pair[1] / "wandb"
    (runs / "run-1").mkdir(parents=True)
    (runs / "latest-run").symlink_to("run-1", target_is_directory=True)
    (runs / "debug.log").symlink_to("gone.log")
    recovered(*pair)
    assert not any((tmp_path / "recovered0" / "wandb").glob("*"))


# -- what no table names ---------------------------------------------------------------------------------


def as_unknown(pair: tuple[Path, Path]) -> None:
    for folder in pair:
        change_config(folder, model_type="novel")
        rewrite(folder, lambda name: name.replace("model.layers.", "net.blocks."))


PREFIX = ("--layer-prefix", r"net\.blocks\.")


def test_a_fused_tensor_of_an_unknown_family_is_refused_with_the_flag(tmp_path, capsys):
    pair = make_pair(tmp_path, "phi3")
    as_unknown(pair)
    assert recover(*pair, tmp_path / "out", "--ranks", "top 25%", *PREFIX) == 2
    message = capsys.readouterr().err
    assert (
        "gate_up_proj.weight [80, 32] may be one matrix, several or none; give --split NAME=LAYOUT" in message
    )
    assert not (tmp_path / "out").exists()
    assert main(["drift", *map(str, pair), "-o", str(tmp_path / "drift"), *PREFIX]) == 2
    assert "--split" in capsys.readouterr().err


def test_a_fused_tensor_is_split_as_the_flag_says(tmp_path, recovered):
    pair = make_pair(tmp_path, "phi3")
    plain = recovered(*pair)
    as_unknown(pair)
    flags = ("--split", "qkv_proj=qkv", "--split", "gate_up_proj=gate-up", *PREFIX)
    assert recover(*pair, tmp_path / "out", "--ranks", "top 25%", *flags) == 0
    result = weights(tmp_path / "out")
    assert all(
        torch.equal(plain[name.replace("net.blocks.", "model.layers.")], result[name]) for name in result
    )


@pytest.mark.parametrize(
    ("family", "kept", "flags"),
    [
        ("gpt_oss", "experts.gate_up_proj_bias", ("gate_up_proj=gate-up-interleaved", "router=one")),
        ("mamba", "mixer.A_log", ("in_proj=gate-up", "x_proj=one", "dt_proj=one", "conv1d=none")),
    ],
)
def test_what_is_no_weight_matrix_stays_the_targets(tmp_path, family, kept, flags):
    pair = make_pair(tmp_path, family)
    split = [word for flag in flags for word in ("--split", flag)]
    prefix = ("--layer-prefix", r"(?:model|backbone)\.layers\.")
    assert recover(*pair, tmp_path / "out", "--ranks", "all", "--restore", "both", *prefix, *split) == 0
    b, t, result = weights(pair[0]), weights(pair[1]), weights(tmp_path / "out")
    names = {name for name in t if name.endswith((kept, "conv1d.weight", "norm.weight"))}
    assert any(name.endswith(kept) for name in names)
    assert all(torch.equal(t[name], result[name]) and not torch.equal(b[name], t[name]) for name in names)


def test_a_new_weight_in_a_known_family_is_refused(tmp_path, capsys):
    pair = make_pair(tmp_path)
    for folder in pair:
        rewrite(folder, more={"model.layers.1.mlp.sidecar.weight": torch.ones(8, 8)})
    assert recover(*pair, tmp_path / "out", "--ranks", "top 25%") == 2
    assert "mlp.sidecar.weight [8, 8] may be one matrix" in capsys.readouterr().err
    assert recover(*pair, tmp_path / "out", "--method", "reset", "--layers", "0") == 0
    assert recover(*pair, tmp_path / "kept", "--ranks", "top 25%", "--split", "sidecar=none") == 0


@pytest.mark.parametrize("given", ["qkv_proj", "qkv_proj=thirds", "=qkv"])
def test_a_layout_that_does_not_exist(tmp_path, capsys, given):
    pair = make_pair(tmp_path)
    assert recover(*pair, tmp_path / "out", "--ranks", "all", "--split", given) == 2
    assert f"split {given!r}: expected NAME=LAYOUT, with one of one, none, qkv" in capsys.readouterr().err


# -- groups of modules -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "ends"),
    [
        ("attention", ("q_proj.weight", "k_proj.weight", "v_proj.weight", "o_proj.weight")),
        ("experts", ("experts.gate_up_proj", "experts.down_proj")),
        (
            "mlp",
            (
                "experts.gate_up_proj",
                "experts.down_proj",
                "gate_proj.weight",
                "up_proj.weight",
                "down_proj.weight",
            ),
        ),
    ],
)
def test_a_group_of_modules_chooses_its_matrices(tmp_path, group, ends):
    pair = make_pair(tmp_path, "llama4_text")
    flags = ("--ranks", "all", "--restore", "both", "--modules", group)
    assert recover(*pair, tmp_path / "out", *flags) == 0
    t, result = weights(pair[1]), weights(tmp_path / "out")
    changed = {name for name in t if not torch.equal(t[name], result[name])}
    assert changed == {name for name in t if name.endswith(ends)}


# -- without weights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["mllama", "gemma3", "llama4", "qwen2_5_vl", "mixtral"])
def test_a_dry_run_of_configurations_alone_finds_the_layers(tmp_path, capsys, family):
    pair = make_pair(tmp_path, family)
    assert recover(*pair, tmp_path / "out", "--ranks", "top 20%", "--dry-run", "--json") == 0
    with_weights = json.loads(capsys.readouterr().out)
    for folder in pair:
        (folder / "model.safetensors").unlink()
    assert recover(*pair, tmp_path / "out", "--ranks", "top 20%", "--dry-run", "--json") == 0
    without = json.loads(capsys.readouterr().out)
    assert without["matrices"] == with_weights["matrices"] > 0
    assert without["disk"] == with_weights["disk"]
