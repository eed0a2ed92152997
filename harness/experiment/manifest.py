"""The manifest of a reproduction: which checkpoint played which part, and what is not in their records.

One JSON object, as ``points24 reproduce`` leaves it beside its records. This module is where every field is
documented. `manifest_of` is the only way in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from points24.tasks.errors import InputError

SCHEMA = 2
"""Goes up whenever a field is added, removed or changes its meaning."""
MANIFEST = "manifest.json"
STARTS = ("early", "middle", "late")
"""The SFT checkpoints that PPO starts from."""
TENTHS = 10

_NAMES = {str: "text", int: "a whole number", float: "a number", dict: "an object", list: "a list"}


class Ppo(NamedTuple):
    """One PPO run, by the models of its records."""

    start: str
    final: str


@dataclass(frozen=True)
class Seed:
    """The runs of one seed; checkpoints are named as in `Record.model`."""

    seed: int
    sft: str
    """The SFT run: its checkpoints are ``<sft>/checkpoint-N``."""
    best_ood: str
    """Its checkpoint with the highest OOD accuracy: the source of the recovered checkpoints."""
    final: str
    """Its last checkpoint: the target of the recovered checkpoints."""
    ppo: dict[str, Ppo]
    """By `STARTS`; the same of them for every seed, or none."""


class Floor(NamedTuple):
    """What rounding to bf16 alone looks like."""

    values: float
    alignment: tuple[float, ...]
    change: float | None = None


@dataclass(frozen=True)
class Drift:
    """How far the matrices of one checkpoint are from those of an earlier one: means over the matrices."""

    seed: int
    first: str
    checkpoint: str
    values: float
    """Relative change of the singular values."""
    change: float
    """Relative change of the matrices."""
    alignment: tuple[float, ...]
    """|cosine| of right singular vectors of equal rank, per tenth of the ranks, the largest values first."""
    floor: Floor

    @property
    def misalignment(self) -> tuple[float, ...]:
        """1 − alignment per tenth, less that of the floor."""
        return tuple(below - here for here, below in zip(self.alignment, self.floor.alignment, strict=True))


@dataclass(frozen=True)
class Manifest:
    """What was run."""

    config: str
    """Name of the YAML file."""
    settings: dict[str, Any]
    """Those of the command."""
    base: str
    """`Record.model` of the base: step 0 of every SFT run."""
    seeds: tuple[Seed, ...]
    drift: tuple[Drift, ...]
    seconds: dict[str, float]
    """Step of the experiment -> how long it took."""
    machine: str


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file.

    Raises:
        InputError: the file cannot be read, or is no manifest; with its path.
    """
    try:
        return manifest_of(json.loads(path.read_text("utf-8")))
    except OSError as e:
        raise InputError(f"{path}: {e.strerror or e}") from e
    except (ValueError, InputError) as e:  # bad JSON, or bytes that are no UTF-8
        raise InputError(f"{path}: {str(e).splitlines()[0]}") from e


def manifest_of(value: object) -> Manifest:
    """A manifest from decoded JSON.

    Raises:
        InputError: what is wrong, found and expected.
    """
    kinds = {"schema": int, "config": str, "settings": dict, "base": str, "seeds": list, "drift": list}
    top = _object(value, "", kinds | {"seconds": dict, "machine": str})
    if (schema := top.pop("schema")) != SCHEMA:
        raise InputError(f"schema: expected {SCHEMA}, found {schema}")
    seeds = tuple(_seed(each, f"seeds[{i}]") for i, each in enumerate(top["seeds"]))
    numbers = [each.seed for each in seeds]
    if not seeds or len(set(numbers)) < len(numbers):
        raise InputError(f"seeds: expected at least one, each once, found {numbers}")
    starts = [[*each.ppo] for each in seeds]
    if any(sorted(found) != sorted(starts[0]) for found in starts):
        raise InputError(f"seeds: expected the same ppo for every seed, found {starts}")
    drift = tuple(_drift(each, f"drift[{i}]", numbers) for i, each in enumerate(top["drift"]))
    for name, seconds in top["seconds"].items():
        if _checked(seconds, f"seconds.{name}", float) < 0:
            raise InputError(f"seconds.{name}: expected at least 0, found {seconds}")
    top["seeds"], top["drift"] = seeds, drift
    return Manifest(**top)


def _seed(value: object, where: str) -> Seed:
    kinds = {"seed": int, "sft": str, "best_ood": str, "final": str, "ppo": dict}
    row = _object(value, where, kinds)
    runs = _object(row["ppo"], f"{where}.ppo", {}, dict.fromkeys(STARTS, dict))
    row["ppo"] = {
        name: Ppo(**_object(run, f"{where}.ppo.{name}", {"start": str, "final": str}))
        for name, run in runs.items()
    }
    return Seed(**row)


def _drift(value: object, where: str, seeds: list[int]) -> Drift:
    kinds = {"seed": int, "first": str, "checkpoint": str, "values": float, "change": float}
    row = _object(value, where, kinds | {"alignment": list, "floor": dict})
    if row["seed"] not in seeds:
        raise InputError(f"{where}.seed: expected one of {seeds}, found {row['seed']}")
    floor = _object(row["floor"], f"{where}.floor", {"values": float, "alignment": list}, {"change": float})
    row["alignment"] = _tenths(row["alignment"], f"{where}.alignment")
    floor["alignment"] = _tenths(floor["alignment"], f"{where}.floor.alignment")
    row["floor"] = Floor(**floor)
    return Drift(**row)


def _tenths(values: list[Any], where: str) -> tuple[float, ...]:
    if len(values) != TENTHS:
        raise InputError(f"{where}: expected {TENTHS} numbers, found {len(values)}")
    return tuple(_checked(value, f"{where}[{i}]", float) for i, value in enumerate(values))


def _object(
    value: object, where: str, kinds: dict[str, type], optional: dict[str, type] | None = None
) -> dict[str, Any]:
    """A copy of a JSON object that has these keys, of others only the optional, and values of such kinds."""
    place = where + "." if where else ""
    if not isinstance(value, dict):
        raise InputError(f"{where or 'manifest'}: expected an object, found {value!r:.60}")
    allowed = kinds | (optional or {})
    if unknown := sorted(map(str, value.keys() - allowed.keys())):
        raise InputError(f"{place}{unknown[0]}: unknown key; allowed: {', '.join(allowed)}")
    if missing := [key for key in kinds if key not in value]:
        raise InputError(f"{place}{missing[0]}: missing")
    return {key: _checked(value[key], place + key, kind) for key, kind in allowed.items() if key in value}


def _checked(value: Any, where: str, kind: type) -> Any:
    fits = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
    if not fits or (kind is float and not isfinite(value)) or value == "":
        raise InputError(f"{where}: expected {_NAMES[kind]}, found {value!r:.60}")
    return value
