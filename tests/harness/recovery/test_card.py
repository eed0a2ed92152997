"""What the model card and the command say about a recovered checkpoint."""

import json

import pytest
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from points24.harness.cli import main
from points24.harness.recovery.card import model_card
from tests.harness.recovery.models import make_pair


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return make_pair(tmp_path_factory.mktemp("pair"))


def recover(source, target, out, *flags):
    return main(["recover", "--source", str(source), "--target", str(target), "-o", str(out), *flags])


def test_the_front_matter_is_what_the_hub_reads(pair, tmp_path):
    assert recover(*pair, tmp_path / "out", "--method", "slerp", "--weight", "0.5") == 0
    text = (tmp_path / "out" / "README.md").read_text()
    data = ModelCard(text).data.to_dict()
    assert data == {"library_name": "transformers", "tags": ["points24", "recovery", "merge", "slerp"]}
    assert "\n## Recovery\n" in text

    report = json.loads((tmp_path / "out" / "recovery.json").read_text())
    names = {
        "source": "org/sft",
        "target": "org/final-1.5",
        "base": "./org/base",
        "others": ["org/sft", "org/c"],
    }
    data = ModelCard(model_card(report | names, report)).data.to_dict()
    assert data["base_model"] == ["org/final-1.5", "org/sft", "org/c"]
    assert data["base_model_relation"] == "merge"


def test_a_result_beyond_the_source_is_called_so(pair, tmp_path, capsys):
    flags = ["--method", "interpolate", "--weight"]
    assert recover(*pair, tmp_path / "beyond", *flags, "1.7", "--dtype", "float64") == 0
    said = capsys.readouterr().err
    assert (
        "The edit measures 170.0% of the distance between source and target, so that the result lies" in said
    )
    assert recover(*pair, tmp_path / "inside", *flags, "0.7", "--dtype", "float64") == 0
    said = capsys.readouterr().err
    assert "The edit measures 70.0% of the distance between source and target.\n" in said


@pytest.mark.parametrize("flags", [["--ranks", "top 20%"], ["--method", "dg-hard"], ["--method", "slerp", "--weight", "1"]])  # fmt: skip
def test_a_source_that_is_the_target_is_called_so(flags, pair, tmp_path, capsys):
    _, target = pair
    assert recover(target, target, tmp_path / "out", *flags) == 0
    assert "Nothing was changed: source and target are the same" in capsys.readouterr().err
    before, after = (load_file(folder / "model.safetensors") for folder in (target, tmp_path / "out"))
    assert all((after[name] == tensor).all() for name, tensor in before.items())


def test_each_modules_flag_is_a_recipe(pair, tmp_path):
    flags = ["--ranks", "all", "--modules", "q_proj", "--modules", "k_proj,v_proj"]
    assert recover(*pair, tmp_path / "out", *flags) == 0
    changed = {}
    for folder in (tmp_path / "out").iterdir():
        report = json.loads((folder / "recovery.json").read_text())
        changed[folder.name] = {matrix["module"] for matrix in report["matrices"]}
    assert changed == {
        "directions-all-layers-all-modules-q_proj": {"q_proj"},
        "directions-all-layers-all-modules-k_proj-v_proj": {"k_proj", "v_proj"},
    }


def test_a_range_and_a_list_of_layers_have_a_folder_each(pair, tmp_path):
    flags = ["--method", "reset", "--layers", "0-1", "--layers", "0", "--layers", "1,0"]
    assert recover(*pair, tmp_path / "same", *flags) == 2  # 0-1 and 1,0 are the same recipe
    assert not (tmp_path / "same").exists()
    assert recover(*pair, tmp_path / "out", *flags[:-2]) == 0
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == ["reset-layers-0", "reset-layers-0-1"]


def strange(folder, tmp_path, name):
    """A checkpoint whose family nobody knows."""
    copy = tmp_path / name
    copy.mkdir()
    (copy / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "strange"}))
    return copy


def test_combinations_need_no_model_type(pair, tmp_path, capsys):
    source, target = (strange(folder, tmp_path, folder.name) for folder in pair)
    flags = ["--method", "interpolate", "--weight", "0.25"]
    assert recover(*pair, tmp_path / "known", *flags) == 0
    assert recover(source, target, tmp_path / "out", *flags) == 0
    known, made = (load_file(tmp_path / out / "model.safetensors") for out in ("known", "out"))
    assert all((made[name] == tensor).all() for name, tensor in known.items())
    capsys.readouterr()
    for needy in (["--layers", "0"], ["--modules", "q_proj"]):
        assert recover(source, target, tmp_path / "other", *flags, *needy) == 2
        assert "model type 'strange'" in capsys.readouterr().err
    assert recover(source, target, tmp_path / "other", "--method", "lines", "--weight", "1") == 2
