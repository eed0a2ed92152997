"""Checkpoints recovered in memory are those that `points24 recover` writes."""

import errno
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from points24.harness.checkpoints.digest import weights_digest
from points24.harness.checkpoints.read import read_config
from points24.harness.checkpoints.write import Copy
from points24.harness.cli import main
from points24.harness.files import sha256
from points24.harness.recovery.families.table import family_of
from points24.harness.recovery.recipe import recipes_of
from points24.harness.recovery.recover import CheckedPair
from points24.harness.recovery.recovered import RecoveredWeights
from points24.harness.recovery.spectral.factor_store import FactorStore
from points24.tasks.errors import InputError
from tests.harness.recovery.models import make_pair

GRID = [
    {"ranks": ["top 25%"]},
    {"ranks": ["top 20% + tail 5%"], "restore": ["both"], "taper": ["2"], "layers": ["first 50%"]},
    {"ranks": ["all"], "restore": ["values"]},
    {"method": "paper-scripts", "ranks": ["top 8"]},
    {"method": "interpolate", "weight": [0.25]},
    {"method": "reset", "layers": ["0"]},
]
RECORD = {"source": "a", "target": "b", "base": None, "command": "test", "versions": {}, "date": "today"}


def recovered(source, target, folder, grid=GRID):
    """Every recipe in memory, all of them sharing factors below the folder."""
    recipes = [recipe for entry in grid for recipe in recipes_of(**entry)]
    job = CheckedPair.open(source, target, recipes, family_of(read_config(target), None))
    store = FactorStore(folder / "factors")
    return [RecoveredWeights(job, i, torch.device("cpu"), store) for i in range(len(recipes))]


def recover(source, target, out, entry):
    """The same recipe on its own, by the command."""
    flags = [
        word
        for key, value in entry.items()
        for word in (
            [f"--{key.replace('_', '-')}"]
            if value is True
            else [f"--{key}", value if key == "method" else str(value[0])]
        )
    ]
    assert main(["recover", "--source", str(source), "--target", str(target), "-o", str(out), *flags]) == 0
    return out


def weights(folder):
    files = sorted(folder.glob("*.safetensors"))
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


@pytest.mark.parametrize("family", ["llama", "llama-tied", "phi3", "mixtral", "gpt2"])
def test_tensors_and_digest_are_those_that_recover_writes(family, tmp_path):
    source, target = make_pair(tmp_path, family)
    for i, (model, entry) in enumerate(zip(recovered(source, target, tmp_path), GRID, strict=True)):
        out = recover(source, target, tmp_path / f"out{i}", entry)
        tensors, written = dict(model.tensors()), weights(out)
        assert tensors.keys() == written.keys()
        for name, tensor in tensors.items():
            assert tensor.dtype == written[name].dtype
            assert torch.equal(tensor, written[name]), (entry, name)
        assert model.digest == weights_digest(out) == sha256(out / "model.safetensors")


def test_shards_have_one_digest(tmp_path):
    source, target = make_pair(tmp_path, max_shard_size="15KB")
    out = recover(source, target, tmp_path / "out", GRID[0])
    assert len(list(out.glob("*.safetensors"))) == 3
    model = recovered(source, target, tmp_path)[0]
    assert model.digest == weights_digest(out)
    assert list(dict(model.tensors())) == [
        name for file in sorted(out.glob("*.safetensors")) for name in file_order(file)
    ]


def file_order(file):
    """Names of a file's tensors, in the order of their bytes."""
    content = file.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    places = {name: value["data_offsets"] for name, value in header.items() if name != "__metadata__"}
    return sorted(places, key=lambda name: places[name])


def test_a_float32_target_is_the_same_to_the_last_bit_or_next_to_it(tmp_path):
    """All eigenvectors or some of them: LAPACK gives the same ones, up to rounding in fp64."""
    source, target = make_pair(tmp_path)
    for folder in (source, target):
        tensors = {name: t.float() for name, t in load_file(folder / "model.safetensors").items()}
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    out = recover(source, target, tmp_path / "out", GRID[0])
    written = weights(out)
    for name, tensor in recovered(source, target, tmp_path)[0].tensors():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, written[name], rtol=2**-22, atol=1e-9)


def test_write_makes_the_folder_that_recover_makes(tmp_path):
    source, target = make_pair(tmp_path, max_shard_size="15KB")
    (target / "README.md").write_text("# Mine\n")
    out = recover(source, target, tmp_path / "out", GRID[0])
    model = recovered(source, target, tmp_path)[0]
    model.write(tmp_path / "written", RECORD)
    names = {path.name for path in out.iterdir()}
    assert names == {path.name for path in (tmp_path / "written").iterdir()}
    for name in names - {"recovery.json", "README.recovery.md"}:
        assert (tmp_path / "written" / name).read_bytes() == (out / name).read_bytes()
    ours, theirs = (
        json.loads((folder / "recovery.json").read_text()) for folder in (tmp_path / "written", out)
    )
    assert ours["sha256"] == theirs["sha256"]
    assert ours["matrices"] == theirs["matrices"]
    assert model.digest == weights_digest(tmp_path / "written")


def test_the_report_is_that_of_recover(tmp_path):
    source, target = make_pair(tmp_path)
    (model,) = recovered(source, target, tmp_path, GRID[:1])
    assert model.report == {}
    assert model.digest
    out = recover(source, target, tmp_path / "out", GRID[0])
    record = json.loads((out / "recovery.json").read_text())
    assert all(model.report[key] == record[key] for key in ("recipe", "skipped", "left_out"))
    for ours, theirs in zip(model.report["matrices"], record["matrices"], strict=True):
        assert {**ours, "cuts": None} == {**theirs, "cuts": None}
        for cut, other in zip(ours["cuts"], theirs["cuts"], strict=True):
            assert cut == pytest.approx(other, rel=1e-9)
    assert model.report["summary"]["matrices"] == len(model.report["matrices"]) == 14


def test_a_report_is_complete_however_often_the_tensors_are_asked_for(tmp_path):
    model = recovered(*make_pair(tmp_path), tmp_path)[0]
    for _ in range(2):
        assert dict(model.tensors())
    assert len(model.report["matrices"]) == 14


def test_integers_and_truth_values_stay_as_they_are(tmp_path):
    source, target = make_pair(tmp_path)
    others = {
        "model.layers.0.position_ids": torch.arange(7),
        "model.layers.0.mask": torch.tensor([True, False]),
        "model.layers.0.scalar": torch.tensor(3),
        "model.layers.0.empty": torch.empty(0, 4, dtype=torch.bfloat16),
    }
    for folder in (source, target):
        tensors = load_file(folder / "model.safetensors") | {
            name: t if folder == target else torch.zeros_like(t) for name, t in others.items()
        }
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    model = recovered(source, target, tmp_path)[0]
    tensors = dict(model.tensors())
    assert all(torch.equal(tensors[name], t) and tensors[name].dtype == t.dtype for name, t in others.items())
    out = recover(source, target, tmp_path / "out", GRID[0])
    assert model.digest == weights_digest(out)


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    model = recovered(*make_pair(tmp_path), tmp_path)[0]
    before = sorted(tmp_path.rglob("*"))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Copy, "finish", full)
    assert model.digest  # the factors are there now
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="No space left"):
        model.write(tmp_path / "written", RECORD)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_exists_is_left_alone(tmp_path):
    source, target = make_pair(tmp_path)
    with pytest.raises(InputError, match="exists"):
        recovered(source, target, tmp_path)[0].write(source, RECORD)


def test_nan_is_named_with_its_tensor(tmp_path):
    source, target = make_pair(tmp_path)
    tensors = load_file(source / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = float("nan")
    save_file(tensors, source / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"^model\.layers\.1\.mlp\.up_proj\.weight: .* in the source"):
        dict(recovered(source, target, tmp_path)[0].tensors())
