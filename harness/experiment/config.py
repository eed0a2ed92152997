"""The settings of an experiment, from the sections of one YAML file.

``reproduce`` says what to run; ``sft``, ``ppo`` and ``sweep`` are the settings of the commands that it runs,
as for each command alone; ``quick`` and ``demo`` are variants, which replace settings of the other sections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from points24.harness.config import config_file, configured, read_settings
from points24.tasks.errors import InputError

Settings = dict[str, dict[str, Any]]
"""Section -> its settings."""

SET_BY_STAGE = {
    "sft": ("output_dir", "model_name_or_path", "seed"),
    "ppo": ("output_dir", "model_name_or_path", "seed"),
    "sweep": ("output_dir", "pairs"),
}
"""The sections that are commands' settings -> the keys that each stage sets itself."""
SECTIONS = ("reproduce", *SET_BY_STAGE)


@dataclass(kw_only=True)
class ReproduceConfig:
    """What to run: the section ``reproduce``."""

    output_dir: str
    base: str
    """What SFT starts from: a shipped model, a folder or a hub id."""
    ppo_from: dict[str, int] = field(default_factory=dict)
    """Name (early, middle, late) -> the SFT step that a PPO run starts from."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Of SFT and PPO; each seed is a run of the whole experiment."""
    num_threads: int | None = None
    """CPU threads of every stage; None: torch's choice. Models depend on it, by the last bits of sums."""
    reverse: list[dict[str, Any]] = field(default_factory=list)
    """The reverse ablation: a grid, as that of a sweep, of what each final PPO checkpoint gets from the final
    SFT checkpoint; empty for none."""
    sft: dict[str, Any] = field(default_factory=dict)
    """Replaces settings of the section sft."""
    ppo: dict[str, Any] = field(default_factory=dict)
    """Replaces settings of the section ppo."""

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"seeds: expected different ones, found {self.seeds}")
        if self.num_threads is not None and self.num_threads < 1:
            raise InputError(f"num_threads: expected at least 1, found {self.num_threads}")


class FileSettings(NamedTuple):
    """A configuration file with its variant and overrides applied."""

    config: ReproduceConfig
    sections: Settings
    """sft, ppo and sweep as they stand in the file."""
    replaced: Settings
    """sft, ppo and sweep: the settings that differ from the file's."""


def read_config(name: str, overrides: Sequence[str], variant: str | None = None) -> FileSettings:
    """Read a configuration file.

    Args:
        name: a path, or the name of a file that ships.
        overrides: ``key=value`` for the section reproduce, ``sft.max_steps=…`` for another.
        variant: ``quick`` or ``demo``; None takes the file as it is.

    Raises:
        InputError: an unreadable file, a section that is missing or unknown, or a key that a stage sets.
    """
    path = config_file(name)
    own = {section: read_settings(path, section=section) for section in SECTIONS}
    varied = _variant(path, variant) if variant else {section: {} for section in SECTIONS}
    given = _given(overrides)
    of_reproduce = own.pop("reproduce") | varied["reproduce"] | given["reproduce"]
    config = configured(ReproduceConfig, of_reproduce)
    replaced = {
        section: varied[section] | getattr(config, section, {}) | given[section] for section in SET_BY_STAGE
    }
    for section, changes in replaced.items():
        if taken := [key for key in SET_BY_STAGE[section] if key in changes]:
            raise InputError(f"{section}.{taken[0]} is the experiment's own: expected another key")
    return FileSettings(config, own, replaced)


def _variant(path: Path | None, variant: str) -> Settings:
    found = read_settings(path, section=variant)
    for section, changes in found.items():
        if section not in SECTIONS or not isinstance(changes, dict):
            allowed = ", ".join(SECTIONS)
            raise InputError(f"config {path}: {variant}: expected sections {allowed}, found {section}")
    return {section: found.get(section, {}) for section in SECTIONS}


def _given(overrides: Sequence[str]) -> Settings:
    found: Settings = {section: {} for section in SECTIONS}
    for key, value in read_settings(None, overrides).items():
        section, dot, inner = key.partition(".")
        if dot and section not in found:
            raise InputError(f"{key}: expected one of the sections {', '.join(SECTIONS)}")
        if dot:
            found[section][inner] = value
        else:
            found["reproduce"][key] = value
    return found
