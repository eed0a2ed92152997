"""Recovery methods, one file each, found by name. Every module here is imported and registers its own."""

from __future__ import annotations

import importlib
import pkgutil

from points24.harness.recovery.methods.method import FOUND, Method, Setting
from points24.tasks.errors import InputError

DEFAULT = "spectral"


def methods() -> dict[str, type[Method]]:
    """Every method by its name, spectral recovery first, then the baselines."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(FOUND.items(), key=lambda item: (item[1].is_baseline, item[0])))


def method_named(name: str) -> type[Method]:
    """The method of that name.

    Raises:
        InputError: there is none.
    """
    known = methods()
    if name not in known:
        raise InputError(f"method: expected {' or '.join(known)}, found {name!r}")
    return known[name]


def all_settings() -> dict[str, Setting]:
    """The settings of every method, by name."""
    found: dict[str, Setting] = {}
    for method in methods().values():
        found = found | {name: given for name, given in method.settings().items() if name not in found}
    return found
