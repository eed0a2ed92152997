"""The same merges by mergekit: run by its own interpreter, since its pins conflict with ours."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file

from points24.harness.checkpoints.read import read_config
from points24.harness.recovery.elsewhere import mergekit_recipe
from points24.harness.recovery.families.table import family_of
from points24.harness.recovery.layers import recover
from points24.harness.recovery.recipe import Recipe
from points24.harness.recovery.recover import CheckedPair
from tests.harness.recovery.models import llama_states

PYTHON = os.environ.get("POINTS24_MERGEKIT_PYTHON") or (sys.executable if find_spec("mergekit") else None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON is None, reason="POINTS24_MERGEKIT_PYTHON names no interpreter with mergekit"),
]

PRECISION = 1e-6
"""mergekit computes in fp32, with elements up to about 1."""
MERGE = """
import json, sys, torch, transformers, yaml
from mergekit.architecture.base import ConfiguredModuleArchitecture, ConfiguredModelArchitecture
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
# mergekit 0.1.4 leaves these undefined where transformers 5 imports its classes lazily.
names = {"torch": torch, "transformers": transformers, "PretrainedConfig": transformers.PretrainedConfig}
for undefined in (ConfiguredModuleArchitecture, ConfiguredModelArchitecture):
    undefined.model_rebuild(_types_namespace=vars(sys.modules["mergekit.architecture.base"]) | names)
for name, config in json.load(sys.stdin).items():
    source = yaml.safe_dump(config)
    run_merge(MergeConfiguration.model_validate(config), name, MergeOptions(copy_tokenizer=False), source)
"""
WEIGHTED = {
    "linear": {"target": {"weight": 0.7}, "source": {"weight": 0.3}},
    "task_arithmetic": {"target": {"weight": 1.0}, "source": {"weight": 0.4}},
    "ties": {"target": {"weight": 1.0, "density": 0.3}, "source": {"weight": 0.6, "density": 0.3}},
    "dare_linear": {"target": {"weight": 1.0, "density": 1.0}, "source": {"weight": 0.6, "density": 1.0}},
    "dare_ties": {"target": {"weight": 1.0, "density": 1.0}, "source": {"weight": 0.6, "density": 1.0}},
    "della": {"target": {"weight": 1.0, "density": 1.0}, "source": {"weight": 0.6, "density": 1.0}},
}


def configurations(folders):
    """Name -> mergekit's configuration."""
    found = {
        method: {
            "merge_method": method,
            "models": [{"model": str(folders[n]), "parameters": own} for n, own in settings.items()],
            "dtype": "float32",
        }
        | ({} if method == "linear" else {"base_model": str(folders["base"])})
        for method, settings in WEIGHTED.items()
    }
    scaled = found["ties"] | {"parameters": {"lambda": 1.3}}
    both = [{"model": str(folders[name])} for name in ("target", "source")]
    slerp = {
        "merge_method": "slerp",
        "models": both,
        "base_model": str(folders["target"]),
        "dtype": "float32",
    }
    three = [{"model": str(folders[n]), "parameters": {"weight": 1}} for n in ("target", "source", "other")]
    soup = {"merge_method": "linear", "models": three, "dtype": "float32"}
    return found | {"ties-scaled": scaled, "slerp": slerp | {"parameters": {"t": 0.35}}, "soup": soup}


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """Name -> (folder that mergekit made, tensors that we make by the recipe read from that folder)."""
    root = tmp_path_factory.mktemp("mergekit")
    folders = llama_states(root, ("base", "source", "target", "other"))
    given = {str(root / "by" / name): config for name, config in configurations(folders).items()}
    assert PYTHON
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(
        [PYTHON, "-c", MERGE], input=json.dumps(given), text=True, check=True, env=environment, cwd=root
    )
    made = {}
    for folder in (root / "by").iterdir():
        recipe = Recipe.read(mergekit_recipe(folder) or {})
        pair = CheckedPair.open(
            folders["source"], folders["target"], [recipe], family_of(read_config(folders["target"])),
            folders["base"], others=[folders["other"]],
        )  # fmt: skip
        out = root / "ours" / folder.name
        out.parent.mkdir(exist_ok=True)
        recover(
            pair, out, {"source": "", "target": "", "command": ""}, dtype="F64", device=torch.device("cpu")
        )
        made[folder.name] = folder, load_file(out / "model.safetensors")
    return made


def written_by_mergekit(folder):
    tensors = {}
    for path in folder.glob("*.safetensors"):
        tensors |= load_file(path)
    return {name: tensor.double() for name, tensor in tensors.items()}


@pytest.mark.parametrize("name", [*WEIGHTED, "ties-scaled", "soup"])
def test_a_merge_by_mergekit_is_ours_to_its_precision(name, merged):
    folder, ours = merged[name]
    theirs = written_by_mergekit(folder)
    assert theirs.keys() == ours.keys()
    worst = max((theirs[key] - tensor).abs().max().item() for key, tensor in ours.items())
    print(f"{name}: {worst:.1e}")
    assert worst < PRECISION


def test_slerp_is_mergekits_where_mergekit_takes_the_arc(merged):
    folder, ours = merged["slerp"]
    theirs, states = written_by_mergekit(folder), folder.parents[1]
    source, target = (load_file(states / name / "model.safetensors") for name in ("source", "target"))
    arcs = 0
    for name, tensor in ours.items():
        s, t = source[name].double(), target[name].double()
        is_arc = (s * t).sum() / (s.norm() * t.norm()) <= 0.9995
        expected = tensor if is_arc else 0.65 * t + 0.35 * s
        assert (theirs[name] - expected).abs().max() < PRECISION, name
        arcs += int(is_arc)
    assert 0 < arcs < len(ours)
