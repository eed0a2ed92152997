"""Checkpoints that other tools made get the recipe of a recovered one."""

import json

import pytest
import yaml

from points24.harness.recovery.elsewhere import mergekit_recipe, recipe_in
from points24.tasks.errors import InputError

TWO = [{"model": "org/target"}, {"model": "org/source", "parameters": {"weight": 0.5}}]


@pytest.fixture
def mergekit(tmp_path):
    def recipe(**config):
        (tmp_path / "mergekit_config.yml").write_text(yaml.safe_dump(config))
        return mergekit_recipe(tmp_path)

    return recipe


@pytest.mark.parametrize("write", [yaml.safe_dump, json.dumps])
def test_a_file_describes_a_recipe(write, tmp_path):
    path = tmp_path / "made.yaml"
    given = {
        "method": "dare",
        "density": 0.5,
        "source": "/runs/sft/checkpoint-90",
        "target": "org/b",
        "base": "org/a",
    }
    path.write_text(write(given | {"layers": "first 25%"}))
    assert recipe_in(path) == {
        "source": "sft/checkpoint-90", "target": "org/b", "base": "org/a", "method": "dare",
        "layers": "first 25%", "weight": 1.0, "density": 0.5, "seed": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1], "expected keys and values, found list"),
        ({"method": "slerp", "source": "a"}, "target is missing"),
        ({"method": "fisher", "source": "a", "target": "b"}, "method: expected spectral or dare"),
        ({"method": "slerp", "source": "a", "target": "b"}, "weight is missing"),
        ({"method": "slerp", "source": "a", "target": "b", "weight": 1, "t": 1}, "unknown key 't'; allowed: method"),
        ({"method": "ties", "source": "a", "target": "b", "density": 2, "base": "c"}, "density 2: expected"),
        ({"method": "ties", "source": "a", "target": "b", "density": 1}, "base is missing: ties"),
    ],
)  # fmt: skip
def test_a_file_that_describes_none_is_refused(given, message, tmp_path):
    path = tmp_path / "made.json"
    path.write_text(json.dumps(given))
    with pytest.raises(InputError, match=r"made\.json: ") as error:
        recipe_in(path)
    assert message in str(error.value)
    with pytest.raises(InputError, match="No such file"):
        recipe_in(tmp_path / "none")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"merge_method": "linear", "models": [
                {"model": "org/target", "parameters": {"weight": 3}}, {"model": "org/source", "parameters": {"weight": 1}},
            ]},
            {"method": "interpolate", "weight": 0.25},
        ),
        (
            {"merge_method": "slerp", "base_model": "org/target", "parameters": {"t": 0.3},
             "slices": [{"sources": [
                 {"model": "org/source", "layer_range": [0, 2]}, {"model": "org/target", "layer_range": [0, 2]},
             ]}]},
            {"method": "slerp", "weight": 0.3},
        ),
        (
            {"merge_method": "task_arithmetic", "base_model": "org/base", "models": TWO},
            {"method": "task-arithmetic", "base": "org/base", "weight": 0.5},
        ),
        (
            {"merge_method": "ties", "base_model": "org/base", "models": TWO,
             "parameters": {"density": 0.4, "weight": 2, "lambda": 0.9}},
            {"method": "ties", "base": "org/base", "weight": 0.25, "density": 0.4, "scale": 0.9},
        ),
        (
            {"merge_method": "dare_ties", "base_model": "org/base", "models": TWO, "parameters": {"density": 0.4}},
            {"method": "dare", "base": "org/base", "weight": 0.5, "density": 0.4, "seed": 0, "elect": True},
        ),
        (
            {"merge_method": "della", "base_model": "org/base", "models": TWO, "parameters": {"density": 0.4}},
            {"method": "della", "base": "org/base", "weight": 0.5, "density": 0.4, "epsilon": 0.3, "scale": 1.0, "seed": 0},
        ),
        (
            {"merge_method": "linear", "parameters": {"weight": 1}, "models": [
                {"model": "org/target"}, {"model": "org/source"}, {"model": "org/other"},
            ]},
            {"method": "soup", "others": ["org/other"]},
        ),
    ],
    ids=lambda value: value.get("merge_method"),
)  # fmt: skip
def test_mergekits_configuration_is_a_recipe(config, expected, mergekit):
    of = {"source": "org/source", "target": "org/target", "layers": "all", "tool": "mergekit"}
    assert mergekit(**config) == of | expected


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"merge_method": "model_stock", "models": TWO}, "mergekit's model_stock is no method of recovery here"),
        ({"merge_method": "linear", "models": [{"model": "a", "parameters": {"weight": [0, 1]}}, {"model": "b"}]},
         "weight: expected one number for the whole model, found [0, 1]"),
        ({"merge_method": "ties", "base_model": "c", "models": [{"model": "a"}]}, "expected two models"),
        ({"merge_method": "dare_linear", "base_model": "c", "parameters": {"weight": 0.5},
          "models": [{"model": "a"}, {"model": "b"}]}, "weight 0.5 for the first model; expected 1"),
        ({"models": TWO}, "not as expected (KeyError: 'merge_method')"),
    ],
)  # fmt: skip
def test_a_merge_that_is_none_of_ours_is_told(config, message, mergekit):
    with pytest.raises(InputError, match="give --recipe") as error:
        mergekit(**config)
    assert message in str(error.value)


def test_a_folder_without_a_configuration_has_no_recipe(tmp_path):
    assert mergekit_recipe(tmp_path) is None
