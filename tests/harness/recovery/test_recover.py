"""Whole folders: what is written, for every family, and what is kept."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from points24.harness.cli import main
from points24.harness.recovery.families.family import Family
from tests.harness.recovery.models import CONFIGS, make_pair
from tests.harness.recovery.oracle import oracle


def recover(source, target, out, *flags):
    return main(["recover", "--source", str(source), "--target", str(target), "-o", str(out), *flags])


def weights(folder) -> dict[str, torch.Tensor]:
    return {
        name: tensor
        for file in sorted(Path(folder).glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def spliced(source, target):
    """Directions of the top 25 %."""
    ranks = min(target.shape)
    exact = oracle(
        source.double().numpy(), target.double().numpy(), "directions", set(range(max(1, (ranks + 2) // 4)))
    )
    return torch.from_numpy(exact).to(target.dtype)


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2", "gpt_neox", "gpt_oss"])
def test_a_result_written_strip_by_strip_is_the_same(family, tmp_path, monkeypatch):
    source, target = make_pair(tmp_path, family)
    assert recover(source, target, tmp_path / "whole", "--ranks", "top 25%") == 0
    monkeypatch.setattr("points24.harness.recovery.spectral.splice._STRIP", 1)
    monkeypatch.setattr("points24.harness.recovery.spectral.splice.chunk_rows", lambda matrix: 7)
    monkeypatch.setattr("points24.harness.recovery.spectral.factors.chunk_rows", lambda matrix: 7)
    assert recover(source, target, tmp_path / "strips", "--ranks", "top 25%") == 0
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "strips")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_unknown_family_is_read_by_the_prefix_the_user_gives(tmp_path, capsys):
    source, target = make_pair(tmp_path)
    for folder in (source, target):
        config = json.loads((folder / "config.json").read_text()) | {"model_type": "novel"}
        (folder / "config.json").write_text(json.dumps(config))
        tensors = {k.replace("model.layers.", "net.blocks."): v for k, v in weights(folder).items()}
        save_file(tensors, folder / "model.safetensors")
    assert recover(source, target, tmp_path / "out", "--ranks", "top 25%") == 2
    assert "--layer-prefix" in capsys.readouterr().err
    assert (
        recover(source, target, tmp_path / "out", "--ranks", "top 25%", "--layer-prefix", r"net\.blocks\.")
        == 0
    )
    name = "net.blocks.1.mlp.up_proj.weight"
    expected = spliced(weights(source)[name], weights(target)[name])
    assert torch.equal(weights(tmp_path / "out")[name], expected)
    assert Family(layers=r"(?:net\.blocks\.)").layer(name) == 1


# -- the folder ------------------------------------------------------------------------------------------


def test_shards_give_what_one_file_gives(tmp_path):
    source, target = make_pair(tmp_path)
    make_pair(tmp_path / "sharded", max_shard_size="15KB")
    assert len(list((tmp_path / "sharded/target").glob("*.safetensors"))) == 3
    flags = ("--ranks", "top 20% + tail 5%", "--restore", "both")
    assert recover(source, target, tmp_path / "one", *flags) == 0
    assert recover(tmp_path / "sharded/source", tmp_path / "sharded/target", tmp_path / "many", *flags) == 0
    one, many = weights(tmp_path / "one"), weights(tmp_path / "many")
    assert one.keys() == many.keys()
    assert all(torch.equal(one[name], many[name]) for name in one)
    AutoModelForCausalLM.from_pretrained(tmp_path / "many")


def test_every_other_file_is_the_targets_and_so_are_permissions(tmp_path):
    source, target = make_pair(tmp_path)
    (target / "README.md").write_text("# Mine\n")
    (target / "sub").mkdir()
    (target / "sub" / "note.txt").write_text("x")
    (target / "model.safetensors").chmod(0o640)
    (target / "tokenizer.json").chmod(0o444)
    target.chmod(0o750)
    assert recover(source, target, tmp_path / "out", "--ranks", "all") == 0
    theirs = {p.relative_to(target) for p in target.rglob("*")}
    made = {p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*")}
    assert made - theirs == {Path("recovery.json"), Path("README.recovery.md")}
    assert not theirs - made
    for path in theirs:
        one, other = target / path, tmp_path / "out" / path
        assert one.stat().st_mode == other.stat().st_mode
        if one.is_file() and one.suffix != ".safetensors":
            assert one.read_bytes() == other.read_bytes()
    assert (tmp_path / "out").stat().st_mode == target.stat().st_mode
    assert "## Recovery" in (tmp_path / "out/README.recovery.md").read_text()
    assert not list(tmp_path.glob("*.partial"))


def test_equal_checkpoints_give_the_targets_bytes(tmp_path):
    _, target = make_pair(tmp_path)
    shutil.copytree(target, tmp_path / "same")
    assert recover(tmp_path / "same", target, tmp_path / "out", "--ranks", "top 20%") == 0
    assert (tmp_path / "out/model.safetensors").read_bytes() == (target / "model.safetensors").read_bytes()


def test_all_ranks_of_both_give_the_sources_matrices(tmp_path):
    source, target = make_pair(tmp_path)
    assert recover(source, target, tmp_path / "out", "--ranks", "all", "--restore", "both") == 0
    b, t, result = weights(source), weights(target), weights(tmp_path / "out")
    for name in t:
        inside = t[name].dim() == 2 and ".layers." in name
        assert torch.equal(result[name], (b if inside else t)[name])


def test_several_recipes_in_one_run_give_what_each_gives_alone(tmp_path, capsys):
    source, target = make_pair(tmp_path)
    ranks, layers, restore = (
        ("top 10%", "top 30%", "tail 20%"),
        ("first 50%", "all"),
        ("directions", "values"),
    )
    flags = [
        w
        for flag, values in (("--ranks", ranks), ("--layers", layers), ("--restore", restore))
        for v in values
        for w in (flag, v)
    ]
    assert recover(source, target, tmp_path / "sweep", *flags) == 0
    folders = capsys.readouterr().out.split()
    assert len(folders) == 12
    for i, folder in enumerate(folders):
        recipe = json.loads((Path(folder) / "recovery.json").read_text())["recipe"]
        alone = tmp_path / f"alone{i}"
        flags = ("--ranks", recipe["ranks"], "--layers", recipe["layers"], "--restore", recipe["restore"])
        assert recover(source, target, alone, *flags) == 0
        one, other = weights(folder), weights(alone)
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_layers_and_modules_choose_what_changes(tmp_path):
    source, target = make_pair(tmp_path)
    flags = ("--ranks", "all", "--layers", "first 50%", "--modules", "q_proj,lm_head")
    assert recover(source, target, tmp_path / "out", *flags) == 0
    t, result = weights(target), weights(tmp_path / "out")
    changed = {name for name in t if not torch.equal(t[name], result[name])}
    assert changed == {"model.layers.0.self_attn.q_proj.weight", "lm_head.weight"}


def test_added_tokens_keep_the_targets_rows_and_are_reported(tmp_path, capsys):
    source, target = make_pair(tmp_path)
    tensors = weights(source)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:40].contiguous()
    save_file(tensors, source / "model.safetensors")
    flags = ("--ranks", "all", "--modules", "q_proj,lm_head")
    assert recover(source, target, tmp_path / "out", *flags) == 0
    assert (
        "lm_head.weight kept the target's values: shape [40, 32] in the source, [48, 32]"
        in capsys.readouterr().err
    )
    assert torch.equal(weights(tmp_path / "out")["lm_head.weight"], weights(target)["lm_head.weight"])


@pytest.mark.parametrize("shard", ["5GB", "15KB"])
def test_a_wider_dtype_keeps_what_rounding_would_lose(tmp_path, shard):
    source, target = make_pair(tmp_path, max_shard_size=shard)
    assert recover(source, target, tmp_path / "out", "--ranks", "top 25%", "--dtype", "float32") == 0
    b, t, result = weights(source), weights(target), weights(tmp_path / "out")
    for name in t:
        assert result[name].dtype == torch.float32
        is_matrix = ".layers." in name and t[name].dim() == 2
        exact = spliced(b[name], t[name].double()) if is_matrix else t[name]
        assert torch.equal(result[name], exact.float())
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.dtype == torch.float32
    assert torch.equal(model.lm_head.weight, result["lm_head.weight"])


def test_weights_in_other_files_are_left_out_and_named(tmp_path, capsys):
    source, target = make_pair(tmp_path)
    (target / "pytorch_model.bin").write_bytes(b"x")
    (target / "consolidated.safetensors").write_bytes(b"x")
    assert recover(source, target, tmp_path / "out", "--ranks", "all") == 0
    assert not (tmp_path / "out/pytorch_model.bin").exists()
    assert not (tmp_path / "out/consolidated.safetensors").exists()
    assert "pytorch_model.bin was left out" in capsys.readouterr().err


# -- what is said about the result -----------------------------------------------------------------------


def test_the_record_says_how_far_to_trust_the_result(tmp_path, capsys):
    source, target = make_pair(tmp_path)
    tensors = weights(source)
    name = "model.layers.0.mlp.up_proj.weight"
    tensors[name][:, 1::2] = tensors[name][:, 0::2]  # rank 16 of 32
    save_file(tensors, source / "model.safetensors", {"format": "pt"})
    assert recover(source, target, tmp_path / "out", "--ranks", "top 25%", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    record = json.loads((tmp_path / "out/recovery.json").read_text())
    assert printed["matrices"] == record["matrices"]
    (facts,) = (m for m in record["matrices"] if m["tensor"] == name)
    b, t, result = (
        tensors[name].double(),
        weights(target)[name].double(),
        weights(tmp_path / "out")[name].double(),
    )
    values = torch.linalg.svdvals(t)
    assert facts["cuts"][0]["k"] == 8
    assert facts["cuts"][0]["target"] == pytest.approx(((values[7] - values[8]) / values[7]).item())
    assert facts["distance"] == pytest.approx((t - b).norm().item())
    assert facts["edit"] == pytest.approx((result - t).norm().item(), rel=0.02)
    assert facts["null"] == {"source": 16, "target": 0}
    exact = oracle(b.numpy(), t.numpy(), "directions", set(range(8)))
    lost = torch.from_numpy(exact) - result
    assert facts["lost_to_rounding"] == pytest.approx((lost.norm() / facts["edit"]).item())
    assert record["skipped"]["model.norm.weight"] == "no matrix of a layer"
    assert record["sha256"].keys() == {"model.safetensors"}
    assert record["recipe"]["ranks"] == "top 25%"


def test_a_dry_run_writes_nothing_and_needs_no_weights(tmp_path, capsys):
    source, target = make_pair(tmp_path)
    assert recover(source, target, tmp_path / "out", "--ranks", "top 20%", "--dry-run", "--json") == 0
    with_weights = json.loads(capsys.readouterr().out)
    for folder in (source, target):
        (folder / "model.safetensors").unlink()
    assert recover(source, target, tmp_path / "out", "--ranks", "top 20%", "--dry-run", "--json") == 0
    without = json.loads(capsys.readouterr().out)
    assert sorted(without["tensors"]) == sorted(with_weights["tensors"])
    assert (
        without["disk"]
        == with_weights["disk"]
        == sum(2 * t.numel() for t in AutoModelForCausalLM.from_config(CONFIGS["llama"]()).parameters())
    )
    assert not (tmp_path / "out").exists()


# -- baselines ----------------------------------------------------------------------------------------


def test_a_reset_copies_whole_layers(tmp_path):
    source, target = make_pair(tmp_path)
    assert recover(source, target, tmp_path / "out", "--method", "reset", "--layers", "first 50%") == 0
    b, t, result = weights(source), weights(target), weights(tmp_path / "out")
    for name in t:
        assert torch.equal(result[name], (b if "layers.0." in name else t)[name])


def test_interpolation_is_the_weighted_mean_of_every_tensor(tmp_path):
    source, target = make_pair(tmp_path)
    assert recover(source, target, tmp_path / "out", "--method", "interpolate", "--weight", "0.25") == 0
    b, t, result = weights(source), weights(target), weights(tmp_path / "out")
    for name in t:
        assert torch.equal(result[name], (0.75 * t[name].double() + 0.25 * b[name].double()).bfloat16())


def test_task_arithmetic_adds_the_sources_task_vector(tmp_path):
    source, target = make_pair(tmp_path)
    shutil.copytree(source, tmp_path / "base")
    tensors = {name: tensor * 2 for name, tensor in weights(source).items()}
    save_file(tensors, source / "model.safetensors", {"format": "pt"})
    flags = ("--method", "task-arithmetic", "--base", str(tmp_path / "base"), "--weight", "-0.5")
    assert recover(source, target, tmp_path / "out", *flags) == 0
    base, t, result = weights(tmp_path / "base"), weights(target), weights(tmp_path / "out")
    for name in t:
        assert torch.equal(result[name], (t[name].double() - 0.5 * base[name].double()).bfloat16())


def test_the_header_is_the_targets(tmp_path):
    source, target = make_pair(tmp_path)
    assert recover(source, target, tmp_path / "out", "--ranks", "all") == 0
    with safe_open(tmp_path / "out/model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
