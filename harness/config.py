"""Settings: the defaults of a dataclass, replaced by a YAML file, replaced by ``key=value`` arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from points24.tasks.errors import InputError

T = TypeVar("T")
CONFIG_GROUP = "points24.configs"
"""Entry points that name packages with configuration files in a folder ``configs``."""


def shipped_configs() -> dict[str, Path]:
    """Name -> path of every configuration file that comes with the package, in alphabetical order."""
    folders = [Path(str(files(entry.value))) / "configs" for entry in entry_points(group=CONFIG_GROUP)]
    return {path.name: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def config_file(name: str | None) -> Path | None:
    """The path of a configuration file that is given by its path or by the name of a shipped one."""
    if name is None:
        return None
    path = Path(name).expanduser()
    return path if path.exists() else shipped_configs().get(name, path)


def load_config(
    cls: type[T], path: str | Path | None, overrides: Sequence[str] = (), section: str | None = None
) -> T:
    """`configured` of `read_settings`, with their arguments and errors."""
    return configured(cls, read_settings(path, overrides, section))


def read_settings(
    path: str | Path | None, overrides: Sequence[str] = (), section: str | None = None
) -> dict[str, Any]:
    """Read settings from a YAML file, then from ``key=value`` overrides, without checking their values.

    Args:
        path: the YAML file; None reads none.
        overrides: replace settings of the file.
        section: the key in the file that holds the settings; None takes the whole file.

    Raises:
        InputError: the file is unreadable, lacks the section or is no mapping, or an override is malformed.
    """
    settings: dict[str, Any] = {}
    if path is not None:
        try:
            loaded = yaml.safe_load(Path(path).expanduser().read_text("utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
            raise InputError(f"config {path}: {' '.join(str(e).split())}") from e
        if section is not None and isinstance(loaded, dict):
            if section not in loaded:
                found = ", ".join(map(str, loaded)) or "nothing"
                raise InputError(f"config {path}: expected a section {section!r}, found {found}")
            loaded = loaded[section]
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
    return settings


def override(key: str, value: object) -> str:
    """The ``key=value`` that `read_settings` reads back as this value."""
    text = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, width=math.inf)
    return f"{key}={text.strip()[1:-1]}"


def configured(cls: type[T], settings: dict[str, Any]) -> T:
    """Build a dataclass from settings that replace its defaults.

    Raises:
        InputError: an unknown key (the message lists the valid ones), a value of the wrong type, a missing
            key, or a value that the dataclass itself refuses.
    """
    hints = get_type_hints(cls)
    wanted = {f.name: hints[f.name] for f in fields(cls) if f.init}  # pyright: ignore[reportArgumentType]  any dataclass
    if unknown := sorted(settings.keys() - wanted.keys(), key=str):
        raise InputError(f"unknown key {', '.join(map(repr, unknown))}; allowed: {_allowed(cls)}")
    needed = [f.name for f in fields(cls) if f.init and f.default is MISSING is f.default_factory]  # pyright: ignore[reportArgumentType]  any dataclass
    if missing := [name for name in needed if name not in settings]:
        raise InputError(f"missing key {', '.join(map(repr, missing))}")
    checked = {key: _checked(key, value, wanted[key]) for key, value in settings.items()}
    try:
        return cls(**checked)
    except InputError:
        raise
    except (TypeError, ValueError) as e:  # a check in the dataclass
        raise InputError(f"{cls.__name__}: {' '.join(str(e).split())}") from e


def _allowed(cls: type) -> str:
    """The names of our own keys; the many keys of a library's dataclass appear as its name."""
    ours, theirs, settable = [], [], {f.name for f in fields(cls) if f.init}  # pyright: ignore[reportArgumentType]  any dataclass
    for base in cls.__mro__:
        if is_dataclass(base):
            if base.__module__.partition(".")[0] in ("trl", "transformers"):
                theirs.append(f"every field of {base.__module__.partition('.')[0]}.{base.__name__}")
            else:
                own = vars(base).get("__annotations__", {})
                ours = [name for name in own if name in settable and name not in ours] + ours
    return ", ".join(ours + theirs[:1]) or "none"


def _checked(key: str, value: object, wanted: Any) -> object:
    adapter = TypeAdapter(wanted, config=ConfigDict(strict=True))
    with suppress(ValidationError):
        return adapter.validate_python(value)
    if isinstance(value, str):
        with suppress(ValueError):  # YAML reads 1e-3 as text; a ValidationError is a ValueError
            return adapter.validate_python(float(value))
    raise InputError(f"{key}: expected {_shown(wanted)}, found {value!r}")


def _shown(wanted: Any) -> str:
    """A type in words, such as ``int or null``."""
    if get_origin(wanted) in (Union, UnionType, Literal):
        return " or ".join(map(_shown, get_args(wanted)))
    if wanted is NoneType:
        return "null"
    return wanted.__name__ if isinstance(wanted, type) and not get_args(wanted) else str(wanted)
