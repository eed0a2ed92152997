"""Every combination and update filter against numpy, on random Llama checkpoints, end to end."""

import json
import re
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from points24.harness.checkpoints.opening import read_config
from points24.harness.cli import main
from points24.harness.recovery.families.table import family_of
from points24.harness.recovery.layers import recover
from points24.harness.recovery.methods.dg_hard import optimal_threshold
from points24.harness.recovery.methods.method import Versions
from points24.harness.recovery.recipe import Recipe, recipes_of
from points24.harness.recovery.recover import CheckedPair
from points24.tasks.errors import InputError
from tests.harness.recovery import merge_oracle as oracle
from tests.harness.recovery.models import CONFIGS, llama_states

STATES = ("base", "source", "target", "other", "fifth")
"""In fp32: the base; what it became in two steps; and two more descendants."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return llama_states(tmp_path_factory.mktemp("states"), STATES)


@pytest.fixture(scope="module")
def states(folders):
    return {name: load_file(folder / "model.safetensors") for name, folder in folders.items()}


def given(method, **settings):
    (recipe,) = recipes_of(method=method, **{name: [value] for name, value in settings.items()})
    return recipe


def layer_of(name):
    match = re.search(r"layers\.(\d+)\.", name)
    return int(match[1]) if match else None


def is_matrix(name):
    return layer_of(name) is not None and "proj" in name


def top(share):
    return lambda d: np.arange(len(d)) < int(share * len(d) + 0.5)


COMBINED = {
    given("interpolate", weight=0.3): lambda v: oracle.interpolate(v.source, v.target, 0.3),
    given("slerp", weight=0.3): lambda v: oracle.slerp(v.source, v.target, 0.3),
    given("lines", weight=0.8): lambda v: oracle.lines(v.source, v.target, (v.layer, 2), 0.8),
    given("lines", weight=0.8, last=0.3): lambda v: oracle.lines(v.source, v.target, (v.layer, 2), 0.8, 0.3),
    given("soup"): lambda v: oracle.soup(v.source, v.target, [read() for read in v.others]),
    given("task-arithmetic", weight=0.4): lambda v: oracle.task_arithmetic(v.source, v.target, v.base, 0.4),
    given("ties", density=0.3): lambda v: oracle.ties(v.source, v.target, v.base, 0.3),
    given("ties", density=0.7, weight=0.5, scale=1.4): lambda v: oracle.ties(
        v.source, v.target, v.base, 0.7, weight=0.5, scale=1.4
    ),
    given("dare", density=0.4, weight=0.6): lambda v: oracle.dare(
        v.source, v.target, v.base, v.name, 0.4, weight=0.6
    ),
    given("dare", density=0.8, seed=7, elect=True): lambda v: oracle.dare(
        v.source, v.target, v.base, v.name, 0.8, seed=7, elects=True
    ),
    given("della", density=0.5, epsilon=0.4, weight=0.7, scale=1.2, seed=3): lambda v: oracle.della(
        v.source, v.target, v.base, v.name, 0.5, epsilon=0.4, weight=0.7, scale=1.2, seed=3
    ),
}
"""Recipe -> (the versions of a tensor -> what it becomes)."""
FILTERED = {
    given("delta-rank", ranks="top 20%"): top(0.2),
    given("delta-rank", ranks="top 80%"): top(0.8),
    given("delta-rank", ranks="tail 25%"): lambda d: np.arange(len(d)) >= len(d) - len(d) // 4,
    given("dg-hard"): None,
    given("dg-hard", threshold=0.4): None,
}
"""Recipe -> (singular values of the update -> which are kept); None: DG-Hard's own."""


@pytest.fixture(scope="module")
def made(folders, tmp_path_factory):
    """Recipe -> (its tensors in fp64, its report), all made in one run."""
    recipes = [*COMBINED, *FILTERED, given("reset", layers="0", modules="q_proj"), *SUBSETS]
    family = family_of(read_config(folders["target"]))
    others = [folders["other"], folders["fifth"]]
    pair = CheckedPair.open(
        folders["source"], folders["target"], recipes, family, folders["base"], others=others
    )
    out = tmp_path_factory.mktemp("made") / "out"
    reports = recover(
        pair, out, {"source": "", "target": "", "command": ""}, dtype="F64", device=torch.device("cpu")
    )
    return {
        recipe: (load_file(out / recipe.name / "model.safetensors"), report)
        for recipe, report in zip(recipes, reports, strict=True)
    }


def versions(states, name):
    arrays = {state: tensors[name].double().numpy() for state, tensors in states.items()}
    others = (lambda: arrays["other"], lambda: arrays["fifth"])
    return Versions(name, layer_of(name), 2, arrays["source"], arrays["target"], arrays["base"], others)


@pytest.mark.parametrize("recipe", COMBINED, ids=lambda recipe: recipe.label)
def test_a_combination_equals_its_definition(recipe, made, states):
    tensors, report = made[recipe]
    for name, tensor in tensors.items():
        expected = COMBINED[recipe](versions(states, name))
        assert np.abs(tensor.numpy() - expected).max() < 1e-12, name
    assert (len(report["tensors"]), len(report["matrices"])) == (len(tensors), 0)
    for fact in report["tensors"]:
        s, t = (states[state][fact["tensor"]].double().numpy() for state in ("source", "target"))
        new = tensors[fact["tensor"]].numpy()
        assert fact["edit"] == pytest.approx(np.linalg.norm(new - t), abs=1e-12)
        assert fact["distance"] == pytest.approx(np.linalg.norm(s - t), abs=1e-12)


@pytest.mark.parametrize("recipe", FILTERED, ids=lambda recipe: recipe.label)
def test_a_filter_of_the_update_equals_its_definition(recipe, made, states):
    tensors, report = made[recipe]
    facts = {fact["tensor"]: fact for fact in report["matrices"]}
    assert set(facts) == {name for name in tensors if is_matrix(name)}
    for name, tensor in tensors.items():
        v = versions(states, name)
        if not is_matrix(name):
            assert np.array_equal(tensor.numpy(), v.target), name
            continue
        threshold = getattr(recipe.method, "threshold", None)
        limit = threshold and threshold * oracle.gavish_donoho(v.target.shape)
        chosen = FILTERED[recipe] or (lambda d, limit=limit: d > limit * np.median(d))
        assert np.abs(tensor.numpy() - oracle.kept_ranks(v.source, v.target, chosen)).max() < 1e-10, name
        values = np.linalg.svd(v.target - v.source, compute_uv=False)
        assert facts[name]["kept"] == np.sum(chosen(values))
    kept = [fact["kept"] for fact in facts.values()]
    assert 0 < sum(kept) < sum(min(fact["shape"]) for fact in facts.values())


SUBSETS = {
    given("ties", density=0.3, layers="1", modules="q_proj,down_proj"): given("ties", density=0.3),
    given("dare", density=0.4, weight=0.6, modules="k_proj"): given("dare", density=0.4, weight=0.6),
    given("slerp", weight=0.3, layers="first 50%"): given("slerp", weight=0.3),
    given("dg-hard", threshold=0.4, modules="v_proj"): given("dg-hard", threshold=0.4),
    given("soup", layers="1"): given("soup"),
}
"""Recipe -> the same for the whole model."""


@pytest.mark.parametrize("recipe", SUBSETS, ids=lambda recipe: recipe.label)
def test_layers_and_modules_choose_what_is_written_and_not_what_is_computed(recipe, made, states):
    (tensors, _), (whole, _) = made[recipe], made[SUBSETS[recipe]]
    layers, modules = recipe.layers.layers(2), recipe.method.modules
    changed = 0
    for name, tensor in tensors.items():
        mine = layer_of(name) in layers and (modules is None or name.split(".")[-2] in modules)
        assert torch.equal(tensor, whole[name] if mine else states["target"][name].double()), name
        changed += mine
    assert 0 < changed < len(tensors)


def test_reset_of_modules_takes_their_matrices(made, states):
    tensors, report = made[given("reset", layers="0", modules="q_proj")]
    for name, tensor in tensors.items():
        of = "source" if name == "model.layers.0.self_attn.q_proj.weight" else "target"
        assert torch.equal(tensor, states[of][name].double())
    assert len(report["tensors"]) == 1


# -- limiting cases, to the last bit --------------------------------------------------------------------


def tensor_of(recipe, v):
    return recipe.method.new_tensor(v)


@pytest.fixture
def v():
    torch.manual_seed(3)
    b, s, t, o = (torch.randn(7, 11).double() for _ in range(4))
    return Versions("model.layers.1.mlp.up_proj.weight", 1, 4, s, t, b, (lambda: o,))


def one_model(v):
    """The target has not moved from the base, so that the source's task vector is the only one."""
    return Versions(v.name, v.layer, v.layers, v.source, v.base, v.base, v.others)


def test_flat_lines_is_interpolation(v):
    assert torch.equal(
        tensor_of(given("lines", weight=0.3, last=0.3), v), tensor_of(given("interpolate", weight=0.3), v)
    )


@pytest.mark.parametrize("method", ["interpolate", "slerp"])
def test_the_ends_are_target_and_source(method, v):
    assert torch.equal(tensor_of(given(method, weight=0), v), v.target)
    assert torch.equal(tensor_of(given(method, weight=1), v), v.source)


def test_slerp_of_parallel_and_opposite_tensors_is_a_straight_line(v):
    for factor in (2.0, -2.0, 0.0):
        parallel = Versions(v.name, 1, 4, v.target * factor, v.target)
        made = tensor_of(given("slerp", weight=0.25), parallel)
        assert torch.allclose(made, v.target * (0.75 + 0.25 * factor), rtol=0, atol=1e-15)


@pytest.mark.parametrize("scale", [1.0, 0.6])
def test_ties_of_one_model_at_density_1_is_task_arithmetic(v, scale):
    v = one_model(v)
    assert torch.equal(
        tensor_of(given("ties", density=1, scale=scale), v),
        tensor_of(given("task-arithmetic", weight=scale), v),
    )


def test_dare_at_density_1_is_task_arithmetic(v):
    expected = tensor_of(given("task-arithmetic", weight=0.7), v)
    assert torch.equal(tensor_of(given("dare", density=1, weight=0.7), v), expected)


def test_della_at_density_1_is_ties_at_density_1(v):
    assert torch.equal(tensor_of(given("della", density=1), v), tensor_of(given("ties", density=1), v))


def test_della_without_a_window_drops_as_dare_does(v):
    made = tensor_of(given("della", density=0.5, epsilon=0), one_model(v))
    assert torch.equal(made, tensor_of(given("dare", density=0.5, elect=True), one_model(v)))


def test_lines_in_a_model_of_one_layer_has_the_first_weight(v):
    single = Versions(v.name, 0, 1, v.source, v.target)
    expected = tensor_of(given("interpolate", weight=0.8), single)
    assert torch.equal(tensor_of(given("lines", weight=0.8), single), expected)


def test_soup_with_a_weight_mixes_the_target_with_the_mean_of_the_others(v):
    made = tensor_of(given("soup", weight=0.25), v)
    assert torch.allclose(made, 0.75 * v.target + 0.125 * (v.source + v.others[0]()), rtol=0, atol=1e-15)


def test_soup_holds_one_of_the_others_at_a_time(v):
    made: list[weakref.ref[torch.Tensor]] = []

    def read():
        assert not [ref for ref in made if ref() is not None]
        made.append(weakref.ref(tensor := torch.ones_like(v.target)))
        return tensor

    tensor_of(given("soup"), replace(v, others=(read,) * 3))
    assert len(made) == 3


def test_every_rank_of_the_update_gives_the_target_to_the_last_bit(folders, tmp_path):
    code = run(folders, tmp_path / "all", "--method", "delta-rank", "--ranks", "all")
    assert code == 0
    before, after = (load_file(f / "model.safetensors") for f in (folders["target"], tmp_path / "all"))
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_trimming_keeps_as_many_as_the_density_says_even_among_equals():
    base = torch.zeros(10).double()
    vector = torch.tensor([1.0, -1, 1, 1, -1, 3, 1, 1, 1, 1]).double()
    v = Versions("x", None, 1, base, vector, base)
    expected = torch.tensor([1.0, -1, 0, 0, 0, 3, 0, 0, 0, 0]).double()
    assert torch.equal(tensor_of(given("ties", density=0.3), v), expected)


def test_known_thresholds():
    assert optimal_threshold((5, 5)) == pytest.approx(2.8582, abs=2e-4)  # Gavish and Donoho, table IV
    for shape in ((40, 32), (32, 8), (1000, 3)):
        assert optimal_threshold(shape) == pytest.approx(oracle.gavish_donoho(shape), rel=1e-6)


# -- the seed -------------------------------------------------------------------------------------------


def test_a_mask_depends_on_seed_tensor_and_checkpoint_alone(v):
    dare = given("dare", density=0.5)
    renamed = Versions("model.layers.2.mlp.up_proj.weight", 2, 4, v.source, v.target, v.base)
    again, other_seed = tensor_of(dare, v), tensor_of(given("dare", density=0.5, seed=1), v)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        torch.manual_seed(99)
        assert torch.equal(tensor_of(dare, v), again)
    finally:
        torch.set_num_threads(threads)
    assert not torch.equal(other_seed, again)
    assert not torch.equal(tensor_of(dare, renamed), again)
    swapped = Versions(v.name, 1, 4, v.target, v.source, v.base)
    assert not torch.equal(tensor_of(dare, swapped), again), "source and target have one mask"


# -- bad input ------------------------------------------------------------------------------------------


def run(folders, out, *flags):
    pair = ["--source", str(folders["source"]), "--target", str(folders["target"])]
    return main(["recover", *pair, "-o", str(out), *flags])


@pytest.mark.parametrize("density", [0, -0.1, 1.1, float("nan"), "half", True])
def test_a_density_outside_0_to_1_is_refused(density):
    for method in ("ties", "dare", "della"):
        with pytest.raises(InputError, match=r"density .*: expected a number in \(0, 1\]"):
            given(method, density=density)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("della", {"density": 0.1, "epsilon": 0.3}, "density 0.1 with epsilon 0.3: probabilities from -0.05 to"),
        ("della", {"density": 0.5, "epsilon": 1.2}, r"epsilon 1.2: expected a number in \[0, 1\)"),
        ("dare", {"density": 0.5, "seed": -1}, "seed -1: expected a whole number from 0"),
        ("dare", {"density": 0.5, "seed": 0.5}, "seed 0.5: expected a whole number"),
        ("ties", {"density": 0.5, "scale": 0}, "scale 0: expected a number above 0"),
        ("dg-hard", {"threshold": -1}, "threshold -1: expected a number above 0"),
        ("delta-rank", {}, "ranks is missing"),
        ("ties", {}, r"density is missing: in \(0, 1\]"),
        ("interpolate", {"weight": 0.5, "modules": "q proj"}, "modules: 'q proj' is no module's name"),
    ],
)  # fmt: skip
def test_bad_settings_are_refused(method, settings, message):
    with pytest.raises(InputError, match=message):
        given(method, **settings)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--method", "ties", "--density", "0.5"], "base is missing: ties needs the ancestor"),
        (["--method", "soup"], "others is missing: soup needs more checkpoints than source and target"),
        (["--method", "soup", "--others", "{source}"], "counts twice; expected checkpoints that differ"),
        (["--method", "slerp", "--weight", "1", "--base", "{base}"], "base does not go with method slerp"),
        (["--method", "dare", "--density", "1", "--base", "{qwen}"], "different architectures: model_type is qwen2"),
        (["--method", "soup", "--others", "{qwen}"], "different architectures: model_type is qwen2"),
    ],
)  # fmt: skip
def test_missing_and_foreign_checkpoints_are_refused(flags, message, folders, tmp_path, capsys):
    qwen = tmp_path / "qwen"
    AutoModelForCausalLM.from_config(CONFIGS["qwen2"]()).save_pretrained(qwen)
    flags = [flag.format(qwen=qwen, **folders) for flag in flags]
    capsys.readouterr()
    assert run(folders, tmp_path / "out", *flags) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unknown_method_is_refused(folders, tmp_path):
    with pytest.raises(InputError, match=r"method: expected spectral or .*, found 'fisher'"):
        Recipe.read({"method": "fisher"})


def test_a_tensor_that_the_base_lacks_is_named(folders, tmp_path, capsys):
    base = tmp_path / "base"
    base.mkdir()
    tensors = load_file(folders["base"] / "model.safetensors")
    tensors["lm_head.weight"] = tensors["lm_head.weight"][:-8].clone()
    save_file(tensors, base / "model.safetensors", {"format": "pt"})
    config = json.loads((folders["base"] / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config))
    flags = ["--method", "dare", "--density", "0.5", "--base", str(base)]
    assert run(folders, tmp_path / "out", *flags) == 2
    assert "lm_head.weight is missing or of another shape" in capsys.readouterr().err
    assert run(folders, tmp_path / "inside", *flags, "--layers", "0") == 0
