"""One dataclass per entry point, then a YAML file, then ``key=value`` on the command line."""

from __future__ import annotations

import math
import types
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from points24.tasks.errors import InputError

T = TypeVar("T")
_UNIONS = (Union, types.UnionType)


CONFIG_GROUP = "points24.configs"
"""The entry points that name packages with configuration files in a folder ``configs``."""


def shipped_configs() -> dict[str, Path]:
    """Name -> path of the configuration files that come with the package, in alphabetical order."""
    folders = [Path(str(files(entry.value))) / "configs" for entry in entry_points(group=CONFIG_GROUP)]
    return {path.name: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def config_file(name: str | None) -> Path | None:
    """A configuration file by its path, or by the name of one that ships."""
    if name is None:
        return None
    path = Path(name).expanduser()
    return path if path.exists() else shipped_configs().get(name, path)


def load_config(
    cls: type[T], path: str | Path | None, overrides: Sequence[str] = (), section: str | None = None
) -> T:
    """Build a config dataclass from its defaults, a YAML mapping, and ``key=value`` overrides, in that order.

    Raises:
        InputError: what `read_settings` and `configured` raise.
    """
    return configured(cls, read_settings(path, overrides, section))


def read_settings(
    path: str | Path | None, overrides: Sequence[str] = (), section: str | None = None
) -> dict[str, Any]:
    """What a YAML mapping and ``key=value`` overrides say, unchecked.

    Args:
        path: the YAML file; None reads none.
        overrides: replace what the file says.
        section: the key of the file under which the settings stand; None takes the file as a whole.

    Raises:
        InputError: an unreadable file, one without the section or the mapping, or an override that is none.
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
    """The ``key=value`` that `read_settings` reads as this."""
    text = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, width=math.inf)
    return f"{key}={text.strip()[1:-1]}"


def configured(cls: type[T], settings: dict[str, Any]) -> T:
    """A config dataclass from its defaults and the settings that replace them.

    Raises:
        InputError: an unknown key (the valid ones are listed), a value of the wrong type, a required key
            that is missing, or whatever the dataclass itself refuses.
    """
    hints = get_type_hints(cls)
    wanted = {f.name: hints[f.name] for f in fields(cls) if f.init}  # pyright: ignore[reportArgumentType]  any dataclass
    if unknown := sorted(settings.keys() - wanted.keys(), key=str):
        raise InputError(f"unknown key {', '.join(map(repr, unknown))}; allowed: {_allowed(cls)}")
    checked = {key: _checked(key, value, wanted[key]) for key, value in settings.items()}
    try:
        return cls(**checked)
    except InputError:
        raise
    except (TypeError, ValueError) as e:  # a field without default was not given, or a library's own check
        raise InputError(f"{cls.__name__}: {' '.join(str(e).split())}") from e


def _allowed(cls: type) -> str:
    """The keys that this project defines, by name; those of another library's dataclass, by its name."""
    ours, theirs = [], []
    for base in cls.__mro__:
        if is_dataclass(base):
            if base.__module__.partition(".")[0] in ("trl", "transformers"):
                theirs.append(f"every field of {base.__module__.partition('.')[0]}.{base.__name__}")
            else:
                ours = [name for name in vars(base).get("__annotations__", {}) if name not in ours] + ours
    return ", ".join(ours + theirs[:1])


def _checked(key: str, value: object, wanted: Any) -> object:
    if not _fits(value, wanted):
        if float in _members(wanted) and isinstance(value, (int, str)) and not isinstance(value, bool):
            try:
                return float(value)  # YAML reads 1e-3 as text
            except ValueError:
                pass
        raise InputError(f"{key}: expected {_shown(wanted)}, found {value!r}")
    return value


def _fits(value: object, wanted: Any) -> bool:
    origin = get_origin(wanted)
    if wanted is Any:
        return True
    if origin in _UNIONS:
        return any(_fits(value, member) for member in get_args(wanted))
    if origin is Literal:
        return value in get_args(wanted)
    if wanted is None or wanted is type(None):
        return value is None
    if origin is list and get_args(wanted):
        return isinstance(value, list) and all(_fits(item, get_args(wanted)[0]) for item in value)
    kind = origin or wanted
    if issubclass(kind, Enum):
        return value in [member.value for member in kind]
    return isinstance(value, kind) and not (kind in (int, float) and isinstance(value, bool))


def _members(wanted: Any) -> tuple[Any, ...]:
    return get_args(wanted) if get_origin(wanted) in _UNIONS else (wanted,)


def _shown(wanted: Any) -> str:
    names = ("null" if m in (None, type(None)) else _name(m) for m in _members(wanted))
    return " or ".join(names)


def _name(member: Any) -> str:
    if get_origin(member) is Literal:
        return " or ".join(map(str, get_args(member)))
    return str(member) if get_args(member) else member.__name__
