"""The settings of an experiment, from the sections of one YAML file.

``reproduce`` says what to run; ``sft``, ``ppo``, ``grpo`` and ``sweep`` are the settings of the commands that
it runs, as for each command alone; ``quick`` and ``demo`` are variants, which replace settings of the other
sections; ``trainings`` has others to compare with, each such replacements under a name.
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
    "grpo": ("output_dir", "model_name_or_path", "seed"),
    "sweep": ("output_dir", "pairs"),
}
"""The sections that are commands' settings -> the keys that each stage sets itself."""
SECTIONS = ("reproduce", *SET_BY_STAGE)
TRAININGS = "trainings"
KINDS = ("sft", "ppo", "grpo", "drift", "sweep", "reverse", "2x2", "shift")
"""Of stages, in their order."""
RL = ("ppo", "grpo")
"""The trainers whose runs start from checkpoints of SFT; their sections may be left out."""
SHIFT_FLAGS = ("dtype", "limit", "template", "batch_size", "sample_tokens")


@dataclass(kw_only=True)
class ReproduceConfig:
    """What to run: the section ``reproduce``."""

    output_dir: str
    base: str
    """What SFT starts from: a shipped model, a folder or a hub id."""
    ppo_from: dict[str, int] = field(default_factory=dict)
    """Name (early, middle, late) -> the SFT step that a PPO run starts from."""
    grpo_from: dict[str, int] = field(default_factory=dict)
    """Likewise for GRPO."""
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
    grpo: dict[str, Any] = field(default_factory=dict)
    """Replaces settings of the section grpo."""
    shift: dict[str, Any] = field(default_factory=dict)
    """Flags of points24 shift (`SHIFT_FLAGS`), in place of those that it has from the section sweep."""
    further_tasks: list[str] = field(default_factory=lambda: ["points24_face_id", "points24_plain_ood"])
    """Scored for the base, the best OOD and the final checkpoint of SFT and those of PPO and GRPO, besides
    what training scores: by default two of the four cells of hands by rule."""
    kinds: list[str] = field(default_factory=lambda: list(KINDS))
    """The kinds of stages to run."""
    trainings: list[str] = field(default_factory=list)
    """Names in the section ``trainings``: the same experiment with other settings, to compare with."""

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"seeds: expected different ones, found {self.seeds}")
        if unknown := [kind for kind in self.kinds if kind not in KINDS]:
            raise InputError(f"kinds: unknown {unknown[0]!r}; allowed: {', '.join(KINDS)}")
        if unknown := [flag for flag in self.shift if flag not in SHIFT_FLAGS]:
            raise InputError(f"shift: unknown {unknown[0]!r}; allowed: {', '.join(SHIFT_FLAGS)}")
        if self.num_threads is not None and self.num_threads < 1:
            raise InputError(f"num_threads: expected at least 1, found {self.num_threads}")


class FileSettings(NamedTuple):
    """A configuration file with its variant and overrides applied."""

    config: ReproduceConfig
    sections: Settings
    """The sections of `SET_BY_STAGE` as they stand in the file; one that is missing is empty."""
    replaced: Settings
    """Those sections: the settings that differ from the file's."""


def read_config(
    name: str, overrides: Sequence[str], variant: str | None = None, training: str | None = None
) -> FileSettings:
    """Read a configuration file.

    Args:
        name: a path, or the name of a file that ships.
        overrides: ``key=value`` for the section reproduce, ``sft.max_steps=…`` for another.
        variant: ``quick`` or ``demo``; None takes the file as it is.
        training: one of the section ``trainings``, whose output folder lies below the experiment's own.

    Raises:
        InputError: an unreadable file, a section or training that is missing or unknown, or a key that a
            stage sets.
    """
    path = config_file(name)
    own = {section: read_settings(path, section=section) for section in ("reproduce", "sft", "sweep")}
    own |= {section: _optional(path, section) for section in RL}
    changes = [
        _changes(f"{path}: {TRAININGS}: {training}", _trainings(path)[training]) if training else {},
        _changes(f"{path}: {variant}", read_settings(path, section=variant)) if variant else {},
        _given(overrides),
    ]
    varied = {
        section: {key: value for each in changes for key, value in each.get(section, {}).items()}
        for section in SECTIONS
    }
    config = configured(ReproduceConfig, own.pop("reproduce") | varied.pop("reproduce"))
    replaced = {section: getattr(config, section, {}) | of_section for section, of_section in varied.items()}
    for section, of_section in replaced.items():
        if taken := [key for key in SET_BY_STAGE[section] if key in of_section]:
            raise InputError(f"{section}.{taken[0]} is the experiment's own: expected another key")
    if unknown := [each for each in config.trainings if each not in _trainings(path)]:
        raise InputError(
            f"trainings: unknown {unknown[0]!r}; allowed: {', '.join(_trainings(path)) or 'none'}"
        )
    if training:
        config.output_dir, config.trainings = str(Path(config.output_dir) / TRAININGS / training), []
    return FileSettings(config, own, replaced)


def _optional(path: Path | None, section: str) -> dict[str, Any]:
    return read_settings(path).get(section, {})


def _trainings(path: Path | None) -> dict[str, Any]:
    return _optional(path, TRAININGS)


def _changes(place: str, found: object) -> Settings:
    """Replacements of settings by section, checked for the sections alone."""
    if not isinstance(found, dict):
        raise InputError(f"config {place}: expected sections, found {type(found).__name__}")
    for section, changes in found.items():
        if section not in SECTIONS or not isinstance(changes, dict):
            raise InputError(f"config {place}: expected sections {', '.join(SECTIONS)}, found {section}")
    return found


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
