"""LoRA adapters: merged as peft merges them, tensor by tensor, wherever a checkpoint can be given."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from points24.harness.checkpoints.digest import joined_digest, weights_digest
from points24.harness.checkpoints.opening import open_checkpoint
from points24.harness.cli import main
from points24.harness.evaluation.engines.engine import FolderWeights
from points24.harness.files import sha256
from points24.tasks.errors import InputError
from tests.harness.recovery.models import CONFIGS

peft = pytest.importorskip("peft")


def make_base(folder: Path, family: str = "llama", seed: int = 0) -> Path:
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(CONFIGS[family](), dtype=torch.float32).save_pretrained(folder)
    return folder


def make_adapter(base: Path, folder: Path, **settings) -> tuple[Path, dict[str, torch.Tensor]]:
    """An adapter with random weights, and the weights that peft merges it to."""
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(base)
    settings = {
        "r": 2,
        "lora_alpha": 3,
        "target_modules": "all-linear",
        "init_lora_weights": False,
    } | settings
    wrapped = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.rand_like(parameter))
    wrapped.save_pretrained(folder)
    wrapped.merge_and_unload().save_pretrained(folder.parent / f"{folder.name}-merged")
    return folder, load_file(folder.parent / f"{folder.name}-merged" / "model.safetensors")


@pytest.fixture
def base(tmp_path):
    return make_base(tmp_path / "base")


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("llama", {}),
        ("llama", {"use_rslora": True}),
        ("llama", {"use_dora": True}),
        ("llama", {"rank_pattern": {"q_proj": 5}, "alpha_pattern": {"1.mlp.up_proj": 7, "k_proj": 1}}),
        ("llama", {"modules_to_save": ["lm_head"], "target_modules": ["q_proj"]}),
        ("llama", {"target_modules": ["embed_tokens", "lm_head"]}),
        ("qwen2", {"bias": "all", "target_modules": ["q_proj", "v_proj"]}),
        ("gpt2", {"target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True}),
        ("gpt2", {"target_modules": ["c_attn"], "fan_in_fan_out": True, "use_dora": True}),
    ],
)
def test_an_adapter_reads_as_peft_merges_it(tmp_path, family, settings):
    base = make_base(tmp_path / "base", family)
    adapter, merged = make_adapter(base, tmp_path / "adapter", **settings)
    checkpoint = open_checkpoint(adapter)
    assert checkpoint.tensors.keys() == merged.keys()
    original = load_file(base / "model.safetensors")
    changed = 0
    for name, expected in merged.items():
        torch.testing.assert_close(checkpoint.read(name), expected, rtol=0, atol=1e-6)
        changed += not torch.equal(checkpoint.read(name), original[name])
    assert changed == len(checkpoint.updates.keys() | checkpoint.replaced.keys()) > 0


def test_recover_takes_adapters_for_source_target_and_base(tmp_path, base):
    adapter, _ = make_adapter(base, tmp_path / "adapter")
    merged = tmp_path / "adapter-merged"
    for place, flags in (
        ("target", ("--ranks", "top 25%")),
        ("source", ("--ranks", "top 25%", "--dtype", "float16")),
        ("base", ("--method", "task-arithmetic", "--weight", "0.5")),
    ):
        made = []
        for number, given in enumerate((adapter, merged)):
            others = {"source": base, "target": base} | {place: given}
            if place == "base":
                others["source"] = make_base(tmp_path / f"other{number}", seed=7)
            words = [word for name, folder in others.items() for word in (f"--{name}", str(folder))]
            out = tmp_path / f"{place}{number}"
            assert main(["recover", *words, "-o", str(out), *flags]) == 0
            made.append(load_file(out / "model.safetensors"))
        for name in made[0]:
            torch.testing.assert_close(
                made[0][name], made[1][name], rtol=0, atol=1e-3 if place == "source" else 1e-5
            )
        assert not (tmp_path / f"{place}0/adapter_config.json").exists()
        AutoModelForCausalLM.from_pretrained(tmp_path / f"{place}0")


def test_a_tensor_that_no_recipe_changes_is_the_merged_one(tmp_path, base):
    adapter, merged = make_adapter(base, tmp_path / "adapter")
    words = ["--source", str(base), "--target", str(adapter), "-o", str(tmp_path / "out")]
    assert main(["recover", *words, "--ranks", "all", "--layers", "0"]) == 0
    name = "model.layers.1.mlp.up_proj.weight"
    result = load_file(tmp_path / "out/model.safetensors")
    torch.testing.assert_close(result[name], merged[name], rtol=0, atol=1e-6)


def test_drift_of_an_adapter_is_that_of_the_merged_model(tmp_path, base, capsys):
    adapter, _ = make_adapter(base, tmp_path / "adapter")
    found = []
    for folder in (adapter, tmp_path / "adapter-merged"):
        capsys.readouterr()
        assert (
            main(["drift", str(base), str(folder), "-o", str(tmp_path / f"d-{folder.name}"), "--json"]) == 0
        )
        found.append(json.loads(capsys.readouterr().out)["matrices"])
    assert len(found[0]) == len(found[1]) == 14
    for ours, theirs in zip(*found, strict=True):
        numbers = [key for key, value in ours.items() if isinstance(value, float)]
        assert numbers
        assert [ours[key] for key in numbers] == pytest.approx([theirs[key] for key in numbers], abs=1e-5)


def test_an_engine_gets_the_merged_model_as_a_folder_with_the_adapters_tokenizer(tmp_path, base):
    adapter, merged = make_adapter(base, tmp_path / "adapter")
    (adapter / "tokenizer.json").write_text('{"mine": 1}')
    weights = FolderWeights(adapter)
    model = AutoModelForCausalLM.from_pretrained(weights.folder)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, merged[name], rtol=0, atol=1e-6)
    assert (weights.folder / "tokenizer.json").read_text() == '{"mine": 1}'
    assert weights.digest == weights_digest(adapter)


def test_the_digest_is_that_of_base_and_adapter(tmp_path, base):
    adapter, _ = make_adapter(base, tmp_path / "adapter")
    own = {name: sha256(adapter / name) for name in ("adapter_config.json", "adapter_model.safetensors")}
    assert weights_digest(adapter) == joined_digest(own | {"base": sha256(base / "model.safetensors")})


def test_a_base_is_found_beside_the_adapter(tmp_path, base):
    adapter, _ = make_adapter(base, tmp_path / "adapter")
    change(adapter, base_model_name_or_path="../base")
    assert open_checkpoint(adapter).folder == base.resolve()


# -- what is refused -------------------------------------------------------------------------------------


def change(folder: Path, **settings) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_model_name_or_path": None}, "an adapter without its base: base_model_name_or_path is None"),
        ({"base_model_name_or_path": "no/such"}, "an adapter without its base 'no/such'"),
        ({"peft_type": "IA3"}, "peft_type 'IA3'; expected LORA"),
        ({"use_qalora": True}, "has use_qalora, which is not supported"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa' changes the base"),
        ({"lora_alpha": None}, "lora_alpha is None; expected a number"),
        ({"use_dora": True}, "use_dora, but .* is missing"),
    ],
)
def test_an_adapter_that_is_not_understood(tmp_path, base, settings, message):
    adapter, _ = make_adapter(base, tmp_path / "adapter", target_modules=["q_proj"])
    change(adapter, **settings)
    with pytest.raises(InputError, match=message):
        open_checkpoint(adapter)


def test_half_an_adapter(tmp_path, base):
    adapter, _ = make_adapter(base, tmp_path / "adapter", target_modules=["q_proj"])
    tensors = load_file(adapter / "adapter_model.safetensors")
    key = next(name for name in tensors if "lora_B" in name)
    save_file({k: v for k, v in tensors.items() if k != key}, adapter / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"lora_A.weight without .*lora_B.weight"):
        open_checkpoint(adapter)
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"half an adapter: expected adapter_model\.safetensors, found only"):
        open_checkpoint(adapter)
    (adapter / "adapter_model.bin").touch()
    with pytest.raises(InputError, match="pickled"):
        open_checkpoint(adapter)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_base_that_the_adapter_does_not_fit(tmp_path, base, family):
    other = make_base(tmp_path / "other", family)
    if family == "llama":
        wide = CONFIGS["llama"]()
        wide.intermediate_size = 44
        AutoModelForCausalLM.from_config(wide).save_pretrained(other)
    adapter, _ = make_adapter(base, tmp_path / "adapter")
    change(adapter, base_model_name_or_path=str(other))
    with pytest.raises(InputError, match="another base"):
        open_checkpoint(adapter)


def test_an_adapter_of_another_base_than_the_one_given_is_refused_by_digest(tmp_path, base, capsys):
    adapter, _ = make_adapter(base, tmp_path / "adapter")
    other, copy = make_base(tmp_path / "other", seed=5), tmp_path / "copy"
    shutil.copytree(base, copy)
    words = ["recover", "--source", str(base), "--target", str(adapter), "--method", "task-arithmetic"]
    words += ["--weight", "0.5", "-o", str(tmp_path / "out"), "--base"]
    assert main([*words, str(other)]) == 2
    assert "trained on another base" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*words, str(copy)]) == 0
