"""Recipes of checkpoints that other tools made: a file that says so, or mergekit's own configuration.

Both become what a recovered checkpoint's record has: method, source, target and the method's settings. So
such a checkpoint stands in the same tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from points24.harness.records.ingest import model_name
from points24.harness.recovery.recipe import Recipe, check_needs
from points24.tasks.errors import InputError

MERGEKIT = "mergekit_config.yml"
_CHECKPOINTS = ("source", "target", "base", "others")
_TASK_VECTORS = {
    "task_arithmetic": ("task-arithmetic", {}),
    "ties": ("ties", {}),
    "dare_linear": ("dare", {}),
    "dare_ties": ("dare", {"elect": True}),
    "della": ("della", {}),
}
"""mergekit's method -> ours, with settings that it implies."""


def recipe_in(path: Path) -> dict[str, Any]:
    """The recipe that a YAML or JSON file describes: method, source, target, layers, settings of the method.

    Raises:
        InputError: the file cannot be read, a key is unknown or missing, or a setting does not fit.
    """
    try:
        given = yaml.safe_load(path.read_text("utf-8"))  # JSON is YAML
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise InputError(f"recipe {path}: {' '.join(str(e).split())}") from e
    try:
        return recorded(given)
    except InputError as e:
        raise InputError(f"recipe {path}: {e}") from e


def recorded(given: Any) -> dict[str, Any]:
    """A recipe as a record carries it.

    Raises:
        InputError: see `recipe_in`.
    """
    if not isinstance(given, dict):
        raise InputError(f"expected keys and values, found {type(given).__name__}")
    if missing := [key for key in ("method", "source", "target") if not given.get(key)]:
        raise InputError(f"{missing[0]} is missing; expected method, source, target, ...")
    recipe = Recipe.read(given)
    allowed = ["method", *_CHECKPOINTS, "layers", *recipe.method.settings()]
    if unknown := [str(key) for key in given if key not in (*allowed, "name", "tool")]:
        raise InputError(f"unknown key {unknown[0]!r}; allowed: {', '.join(allowed)}")
    check_needs([recipe], given.get("base"), given.get("others") or ())
    names = {key: _name(given[key]) for key in _CHECKPOINTS if given.get(key)}
    tool = {"tool": given["tool"]} if given.get("tool") else {}
    return names | recipe.describe() | tool


def mergekit_recipe(folder: Path) -> dict[str, Any] | None:
    """The recipe in a folder's mergekit_config.yml; None where there is no such file.

    Of two models the first counts as the target, the second as the source; slerp's base is its target.
    mergekit's random masks have no seed that could be recorded, so the seed is left at its default.

    Raises:
        InputError: a merge that is none of ours (other methods, weights by layer, more than two models, ...).
    """
    path = folder / MERGEKIT
    if not path.exists():
        return None
    try:
        config = yaml.safe_load(path.read_text("utf-8"))
        return recorded(_of_mergekit(config) | {"tool": "mergekit"})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise InputError(f"{path}: {' '.join(str(e).split())}") from e
    except (InputError, KeyError, TypeError, AttributeError, IndexError, ZeroDivisionError) as e:
        why = str(e) if isinstance(e, InputError) else f"not as expected ({type(e).__name__}: {e})"
        raise InputError(f"{path}: {why}; give --recipe") from e


def _of_mergekit(config: Mapping[str, Any]) -> dict[str, Any]:
    merge, base = config["merge_method"], config.get("base_model")
    shared = config.get("parameters") or {}
    entries = _models(config)
    names = [entry["model"] for entry in entries]
    own = [shared | (entry.get("parameters") or {}) for entry in entries]
    if merge == "slerp":
        (source,) = [name for name in names if name != base]
        return {"method": "slerp", "source": source, "target": base, "weight": _scalar(shared, "t")}
    if merge == "linear":
        weights = [_scalar(settings, "weight", 1.0) for settings in own]
        if len(names) > 2 and len(set(weights)) == 1:
            return {"method": "soup", "target": names[0], "source": names[1], "others": names[2:]}
        target, source = _two(names)
        if not shared.get("normalize", True) and sum(weights) != 1:
            raise InputError("linear without normalize, with weights that do not sum to 1")
        weight = weights[1] / sum(weights)
        return {"method": "interpolate", "source": source, "target": target, "weight": weight}
    if merge not in _TASK_VECTORS:
        raise InputError(f"mergekit's {merge} is no method of recovery here")
    models = [(name, settings) for name, settings in zip(names, own, strict=True) if name != base]
    return _of_task_vectors(merge, str(base), shared, models)


def _of_task_vectors(
    merge: str, base: str, shared: Mapping[str, Any], models: Sequence[tuple[str, Mapping[str, Any]]]
) -> dict[str, Any]:
    name, implied = _TASK_VECTORS[merge]
    target, source = _two([model for model, _ in models])
    (ours, theirs), scale = (settings for _, settings in models), _scalar(shared, "lambda", 1.0)
    weights = _scalar(ours, "weight", 1.0), _scalar(theirs, "weight", 1.0)
    is_mean = shared.get("normalize", name in ("ties", "della"))
    if is_mean != (name in ("ties", "della")) or (scale != 1 and not is_mean):
        raise InputError(f"{merge} with another normalize or lambda than its default")
    if not is_mean and weights[0] != 1:
        raise InputError(f"{merge} with weight {weights[0]:g} for the first model; expected 1")
    found = {"method": name, "source": source, "target": target, "base": base} | implied
    found["weight"] = weights[1] / weights[0]
    if is_mean:
        found["scale"] = scale
    if name != "task-arithmetic":
        densities = [_scalar(settings, "density", 1.0) for settings in (ours, theirs)]
        if densities[0] != densities[1]:
            raise InputError(f"{merge} with two densities, {densities[0]:g} and {densities[1]:g}")
        found["density"] = densities[0]
    if name == "della":
        found["epsilon"] = 2 * _scalar(theirs, "epsilon", 0.15)
    return found


def _models(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "models" in config:
        return config["models"]
    if len(config["slices"]) != 1:
        raise InputError("slices of several models are no method of recovery here")
    return config["slices"][0]["sources"]


def _two(names: Sequence[str]) -> tuple[str, str]:
    if len(names) != 2:
        raise InputError(f"expected two models besides the base, found {len(names)}")
    return names[0], names[1]


def _scalar(settings: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = settings.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InputError(f"{key}: expected one number for the whole model, found {json.dumps(value)}")
    return value


def _name(given: Any) -> Any:
    return [model_name(str(name)) for name in given] if isinstance(given, list) else model_name(str(given))
