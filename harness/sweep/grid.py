"""The grid of a sweep: entries that each stand for every combination of what they list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, make_dataclass
from typing import Any

from points24.harness.config import configured
from points24.harness.recovery.methods import DEFAULT, all_settings
from points24.harness.recovery.recipe import Recipe, recipes_of, refuse_doubles
from points24.tasks.errors import InputError


def recipes_in(grid: Iterable[Mapping[str, Any]]) -> list[Recipe]:
    """The recipes of a grid.

    Raises:
        InputError: a bad entry, or a recipe that is asked for twice.
    """
    try:
        recipes = [recipe for entry in grid for recipe in _recipes(entry)]
        refuse_doubles(recipes)
    except InputError as e:
        raise InputError(f"grid: {e}") from e
    return recipes


def _recipes(entry: Mapping[str, Any]) -> list[Recipe]:
    """The recipes of one entry, where a single value need not be a list."""
    switches = {"method", *(name for name, setting in all_settings().items() if setting.kinds is bool)}
    listed = {
        key: value if isinstance(value, list) or key in switches else [value] for key, value in entry.items()
    }
    found = vars(configured(_entry(), listed))
    return recipes_of(**found | {"layers": list(map(str, found["layers"]))})


def _entry() -> type:
    """A dataclass with the keys of an entry: the method, the settings of every method, and the layers."""
    settings: list[tuple[str, Any, Any]] = [
        (name, bool, False) if given.kinds is bool else (name, list[given.kinds], field(default_factory=list))
        for name, given in all_settings().items()
    ]
    layers = ("layers", list[str | int], field(default_factory=list))
    return make_dataclass("Entry", [("method", str, DEFAULT), *settings, layers], kw_only=True)
