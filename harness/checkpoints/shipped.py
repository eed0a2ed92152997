"""The models that ship with the package: one folder each beside this file."""

from __future__ import annotations

from pathlib import Path

from points24.tasks.errors import InputError

_HERE = Path(__file__).resolve().parent


def model_folder(name: str) -> Path:
    """The folder of a shipped model.

    Raises:
        InputError: there is none of that name.
    """
    if name not in shipped():
        raise InputError(f"unknown model {name!r}; allowed: {', '.join(shipped())}")
    return _HERE / name


def shipped() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(config.parent.name for config in _HERE.glob("*/config.json"))
