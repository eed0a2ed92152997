"""One dataclass per entry point, then a YAML file, then ``key=value`` on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from points24.tasks.errors import InputError

T = TypeVar("T")


def load_config(cls: type[T], path: str | Path | None, overrides: Sequence[str] = ()) -> T:
    """Build a config dataclass from its defaults, a YAML mapping, and ``key=value`` overrides, in that order.

    Raises:
        InputError: an unreadable file, an unknown key (the valid ones are listed), a value of the wrong
            type, or a required key that is missing.
    """
    settings: dict[str, Any] = {}
    if path is not None:
        try:
            loaded = yaml.safe_load(Path(path).expanduser().read_text("utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
            raise InputError(f"config {path}: {' '.join(str(e).split())}") from e
        if not isinstance(loaded, dict):
            raise InputError(f"config {path}: expected keys and values, found {type(loaded).__name__}")
        settings |= loaded
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"expected key=value, found {override!r}")
        try:
            settings[key] = yaml.safe_load(text)
        except yaml.YAMLError as e:
            raise InputError(f"{key}: {text!r} is not a YAML value") from e

    types = {f.name: get_type_hints(cls)[f.name] for f in fields(cls)}  # pyright: ignore[reportArgumentType]
    if unknown := sorted(settings.keys() - types.keys()):
        raise InputError(f"unknown key {', '.join(map(repr, unknown))}; allowed: {', '.join(types)}")
    checked = {key: _checked(key, value, types[key]) for key, value in settings.items()}
    try:
        return cls(**checked)
    except TypeError as e:  # a field without default was not given
        raise InputError(f"{cls.__name__}: {e}") from e


def _checked(key: str, value: object, wanted: type) -> object:
    if wanted is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-3 as text
        except ValueError:
            pass
    if isinstance(value, wanted) and not (wanted is int and isinstance(value, bool)):
        return value
    raise InputError(f"{key}: expected {wanted.__name__}, found {value!r}")
