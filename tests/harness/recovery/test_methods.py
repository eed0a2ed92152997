"""The registry of methods, and what a method of one's own takes."""

import subprocess
import sys
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file

from points24.harness.checkpoints.shipped import model_folder
from points24.harness.cli import main
from points24.harness.recovery.methods import all_settings, methods
from points24.harness.recovery.methods.method import FOUND, Combination, about, register
from points24.harness.recovery.recipe import Recipe, recipes_of
from points24.harness.sweep.config import SweepConfig
from points24.harness.sweep.jobs import jobs_of
from points24.tasks.errors import InputError
from tests.harness.recovery.models import make_pair


def test_methods_are_found_by_name_with_spectral_recovery_first():
    assert list(methods()) == [
        "spectral", "dare", "della", "delta-rank", "dg-hard", "interpolate", "lines", "paper-scripts", "reset",
        "slerp", "soup", "task-arithmetic", "ties",
    ]  # fmt: skip
    assert [name for name, method in methods().items() if not method.is_baseline] == ["spectral"]
    needy = [name for name, method in methods().items() if method.needs_base]
    assert needy == ["dare", "della", "task-arithmetic", "ties"]
    assert [name for name, method in methods().items() if method.needs_others] == ["soup"]
    assert list(all_settings()) == [
        "modules", "restore", "ranks", "taper", "weight", "density", "seed", "elect", "epsilon", "scale",
        "threshold", "last", "script",
    ]  # fmt: skip


def test_labels_of_every_method_are_read_without_torch():
    program = """
import sys
from points24.harness.recovery.methods import methods
from points24.harness.recovery.recipe import Recipe
given = {"restore": "values", "ranks": "top 20%", "weight": 0.5, "density": 0.2, "layers": "first 25%"}
print(*(Recipe.read({"method": name} | given).label for name in methods()), sep="; ")
import points24.harness.analysis.summaries
assert "torch" not in sys.modules
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "; ".join(
        [
            "values, top 20% of ranks, first 25% of layers",
            "dare 0.5, first 25% of layers, density 0.2",
            "della 0.5, first 25% of layers, density 0.2",
            "delta-rank, ranks top 20%, first 25% of layers",
            "dg-hard, first 25% of layers",
            "interpolate 0.5, first 25% of layers",
            "lines 0.5, first 25% of layers",
            "paper-scripts, values, top 20% of ranks, first 25% of layers",
            "reset, first 25% of layers",
            "slerp 0.5, first 25% of layers",
            "soup, weight 0.5, first 25% of layers",
            "task-arithmetic 0.5, first 25% of layers",
            "ties 0.5, first 25% of layers, density 0.2",
        ]
    )


@pytest.fixture
def damp():
    """A method of our own, with a setting of its own: the target, scaled."""

    @register
    @dataclass(frozen=True, kw_only=True)
    class Damp(Combination):
        name: ClassVar[str] = "damp"
        factor: float = field(metadata=about("of the target", float, float | int, "a number, such as 0.9"))

        def new_tensor(self, of):
            return of.target * self.factor

    yield Damp
    del FOUND["damp"]


def test_a_new_method_is_one_class(damp, tmp_path, capsys):
    (recipe,) = recipes_of(method="damp", factor=[0.5], layers=["0"])
    assert recipe == Recipe.read(recipe.describe()) == Recipe(damp(factor=0.5), recipe.layers)
    assert recipe.describe() == {"method": "damp", "layers": "0", "factor": 0.5}
    assert (recipe.label, recipe.short, recipe.method.kind) == (
        "damp, factor 0.5, layers 0",
        "factor 0.5, 0",
        "damp",
    )
    assert (recipe.method.is_baseline, recipe.name) == (True, "damp-factor-0.5-layers-0")

    source, target = make_pair(tmp_path)
    pair = ["--source", str(source), "--target", str(target), "--method", "damp", "--layers", "0"]
    assert main(["recover", *pair, "--factor", "0.5", "-o", str(tmp_path / "out")]) == 0
    before, after = (load_file(folder / "model.safetensors") for folder in (target, tmp_path / "out"))
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor / 2 if "layers.0." in name else tensor)
    capsys.readouterr()
    assert main(["recover", *pair, "-o", str(tmp_path / "other")]) == 2
    assert "factor is missing: a number, such as 0.9" in capsys.readouterr().err


def test_a_new_method_can_be_swept(damp, tmp_path):
    base = str(model_folder("nano-base"))
    pairs, out = [{"source": base, "target": str(model_folder("nano-plain"))}], str(tmp_path)
    config = SweepConfig(
        pairs=pairs, grid=[{"method": "damp", "factor": [0.5, 1], "layers": 0}], output_dir=out
    )
    assert [job.model for job in jobs_of(config)][2:] == [
        "damp-factor-0.5-layers-0_of_nano-base_in_nano-plain",
        "damp-factor-1.0-layers-0_of_nano-base_in_nano-plain",
    ]
    with pytest.raises(InputError, match="grid: ranks does not go with method damp"):
        jobs_of(
            SweepConfig(pairs=pairs, grid=[{"method": "damp", "factor": 1, "ranks": "all"}], output_dir=out)
        )
