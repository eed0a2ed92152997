"""`recover --paper-scripts` beside a script of our own that does what theirs do, through transformers in fp16."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from points24.harness.checkpoints.digest import weights_digest
from points24.harness.checkpoints.read import read_config
from points24.harness.cli import main
from points24.harness.recovery.families.table import family_of
from points24.harness.recovery.recipe import recipes_of
from points24.harness.recovery.recover import CheckedPair
from points24.harness.recovery.recovered import RecoveredWeights
from points24.harness.recovery.spectral.factors import factorise
from tests.harness.recovery.models import make_pair


def as_the_scripts_do(source, target, out, *, top, tail, restore="directions", layers=None, always=()):
    """Load both models as fp16, replace two-dimensional parameters, save. Ranks are counts, cut to what there is."""
    before = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float16)
    given = {name: p.detach().float() for name, p in before.named_parameters() if p.dim() == 2}
    model = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float16)
    for name, parameter in model.named_parameters():
        match = re.search(r"model\.layers\.(\d+)\.", name)
        wanted = layers is None or name in always or (match and int(match[1]) in layers)
        if parameter.dim() == 2 and wanted:
            new = one_matrix(given[name], parameter.detach().float(), top, tail, restore)
            parameter.data.copy_(new.half())
    model.save_pretrained(out)
    return load_file(out / "model.safetensors")


def one_matrix(source, target, top, tail, restore):
    theirs, mine = (torch.linalg.svd(matrix, full_matrices=False) for matrix in (source, target))
    n = theirs.U.shape[1]
    top = min(top, n)
    tail = min(tail, n - top)
    if top + tail == n:
        return source
    ends = slice(0, top), slice(top, n - tail), slice(n - tail, n)
    u = torch.cat([x.U[:, part] for x, part in zip((theirs, mine, theirs), ends, strict=True)], dim=1)
    vh = torch.cat([x.Vh[part] for x, part in zip((theirs, mine, theirs), ends, strict=True)])
    s = torch.cat([x.S[part] for x, part in zip((theirs, mine, theirs), ends, strict=True)])
    return u @ torch.diag(s if restore == "both" else mine.S) @ vh


@pytest.mark.parametrize("family", ["llama", "llama-tied"])
@pytest.mark.parametrize(
    ("flags", "ranks"),
    [
        (("--ranks", "top 5"), {"top": 5, "tail": 0}),
        (("--ranks", "top 20 + tail 3", "--restore", "both"), {"top": 20, "tail": 3, "restore": "both"}),
        (("--ranks", "tail 40"), {"top": 0, "tail": 40}),  # more than any matrix has
        (("--ranks", "top 17"), {"top": 17, "tail": 0}),  # all ranks of keys and values alone
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_every_tensor_is_the_scripts_bit_for_bit(family, flags, ranks, tmp_path):
    source, target = make_pair(tmp_path, family)
    expected = as_the_scripts_do(source, target, tmp_path / "theirs", **ranks)
    result = load_file(recovered(source, target, tmp_path / "ours", *flags) / "model.safetensors")
    assert result.keys() == expected.keys()
    assert ("lm_head.weight" in result) == (family == "llama")
    for name, tensor in expected.items():
        assert result[name].dtype == torch.float16
        assert torch.equal(result[name], tensor), name


@pytest.mark.parametrize("family", ["llama", "llama-tied"])
@pytest.mark.parametrize("script", ["llama", "qwen"])
def test_layer_runs_copy_whole_matrices_and_llamas_copy_the_embeddings_too(family, script, tmp_path):
    source, target = make_pair(tmp_path, family)
    always = ("model.embed_tokens.weight", "lm_head.weight") if script == "llama" else ()
    expected = as_the_scripts_do(
        source, target, tmp_path / "theirs", top=4096, tail=0, layers={0}, always=always
    )
    flags = ("--ranks", "top 4096", "--layers", "0", "--script", script)
    result = load_file(recovered(source, target, tmp_path / "ours", *flags) / "model.safetensors")
    before, after = (load_file(folder / "model.safetensors") for folder in (source, target))
    assert result.keys() == expected.keys()
    for name, tensor in expected.items():
        is_copied = tensor.dim() == 2 and (".layers.0." in name or name in always)
        assert torch.equal(tensor, (before if is_copied else after)[name].half())
        assert torch.equal(result[name], tensor), name


def test_fused_tensors_and_position_embeddings_are_one_matrix_each(tmp_path):
    source, target = make_pair(tmp_path, "gpt2")
    expected = as_the_scripts_do(source, target, tmp_path / "theirs", top=6, tail=0)
    result = load_file(recovered(source, target, tmp_path / "ours", "--ranks", "top 6") / "model.safetensors")
    assert all(torch.equal(result[name], tensor) for name, tensor in expected.items())


def test_equal_checkpoints_are_multiplied_out_again_as_the_scripts_do(tmp_path):
    source, _ = make_pair(tmp_path)
    expected = as_the_scripts_do(source, source, tmp_path / "theirs", top=5, tail=0)
    result = load_file(recovered(source, source, tmp_path / "ours", "--ranks", "top 5") / "model.safetensors")
    assert all(torch.equal(result[name], tensor) for name, tensor in expected.items())


def test_the_folder_says_float16_and_loads_as_such(tmp_path):
    source, target = make_pair(tmp_path)
    out = recovered(source, target, tmp_path / "out", "--ranks", "top 5")
    assert json.loads((out / "config.json").read_text())["dtype"] == "float16"
    assert AutoModelForCausalLM.from_pretrained(out).dtype == torch.float16
    record = json.loads((out / "recovery.json").read_text())
    assert record["recipe"] == {
        "method": "paper-scripts", "layers": "all", "restore": "directions", "ranks": "top 5",
        "script": "llama", "name": "paper-scripts-directions-top-5-layers-all",
    }  # fmt: skip


def test_the_same_in_memory_has_the_folders_digest(tmp_path):
    source, target = make_pair(tmp_path)
    out = recovered(source, target, tmp_path / "out", "--ranks", "top 5")
    recipes = recipes_of(method="paper-scripts", ranks=["top 5"])
    pair = CheckedPair.open(source, target, recipes, family_of(read_config(target), None))
    model = RecoveredWeights(pair, 0, torch.device("cpu"), factorise)
    written = load_file(out / "model.safetensors")
    assert all(torch.equal(tensor, written[name]) for name, tensor in model.tensors())
    assert model.digest == weights_digest(out)


def test_another_dtype_is_refused(tmp_path, capsys):
    source, target = make_pair(tmp_path)
    flags = ["--source", str(source), "--target", str(target), "--ranks", "top 5", "--dtype", "bfloat16"]
    assert main(["recover", "--paper-scripts", *flags, "-o", str(tmp_path / "out")]) == 2
    assert "dtype does not go with method paper-scripts, which writes F16" in capsys.readouterr().err


def recovered(source, target, out, *flags):
    pair = ["--source", str(source), "--target", str(target)]
    assert main(["recover", "--paper-scripts", *pair, *flags, "-o", str(out)]) == 0
    return out
