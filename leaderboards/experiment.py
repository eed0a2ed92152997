"""The paper's experiment: its stages, each of which is a `points24` command, and its manifest."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from points24.harness.config import config_file, configured, read_settings
from points24.harness.files import replacing
from points24.harness.ingest import model_name
from points24.harness.models import model_folder, shipped
from points24.tasks.errors import InputError

CELLS_OF_RULE = ("points24_face_id", "points24_plain_ood")
"""With ID and OOD: hands with and without face cards under either rule."""


@dataclass(kw_only=True)
class ReproduceConfig:
    """The experiment; how to train and to sweep stands in the file's sections sft, ppo and sweep."""

    output_dir: str
    base: str
    """What SFT starts from: a shipped model, a folder or a hub id."""
    ppo_from: dict[str, int] = field(default_factory=dict)
    """The SFT steps that PPO starts from, by name: early, middle, late."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Of SFT and PPO."""
    sft: dict[str, Any] = field(default_factory=dict)
    ppo: dict[str, Any] = field(default_factory=dict)
    """What this experiment replaces of the sections sft and ppo."""

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"seeds: expected different ones, found {self.seeds}")


@dataclass(frozen=True)
class Stage:
    """One command.

    Attributes:
        name: unique.
        arguments: of `points24`, once the stages before are done.
        leftover: what a run that was killed may have left in the way.
    """

    name: str
    arguments: Callable[[], list[str]]
    leftover: Path | None = None


class Experiment:
    """What is to be done, and where it goes.

    <output_dir>/sft-<seed>, ppo-<start>-<seed>   training runs      stages/<name>.json   what is done
    <output_dir>/drift-…, sweep-…, cells-<seed>   what follows       logs/<name>.log      what stages print
    """

    def __init__(self, config: ReproduceConfig, file: str, settings: dict[str, dict[str, Any]]):
        self.config, self.file, self.settings = config, file, settings
        self.out = Path(config.output_dir).expanduser().resolve()
        self.base = str(model_folder(config.base)) if config.base in shipped() else config.base

    def stages(self, seed: int) -> list[Stage]:
        """Those of one seed, in their order."""
        found = [Stage(f"sft-{seed}", lambda: self._train("sft", f"sft-{seed}", self.base, seed))]
        for name, step in self.config.ppo_from.items():
            start = self.out / f"sft-{seed}" / f"checkpoint-{step}"
            out = f"ppo-{name}-{seed}"
            found.append(Stage(out, lambda out=out, start=start: self._train("ppo", out, str(start), seed)))
        for first in ("base", "best-ood"):
            name = f"drift-{first}-{seed}"
            partial = self.out / f"{name}.partial"
            found.append(Stage(name, lambda first=first, name=name: self._drift(first, name, seed), partial))
        found.append(Stage(f"sweep-{seed}", lambda: self._sweep(seed)))
        found.append(Stage(f"cells-{seed}", lambda: self._cells(seed)))
        return found

    def checkpoints(self, seed: int) -> list[Path]:
        """Of the SFT run, by step."""
        folders = (self.out / f"sft-{seed}").glob("checkpoint-*")
        return sorted(folders, key=lambda folder: int(folder.name.removeprefix("checkpoint-")))

    def marked(self, run: str, mark: str) -> Path:
        """A run's checkpoint ``best-ood`` or ``end``."""
        return (self.out / run / mark).resolve()

    def ppo_ends(self, seed: int) -> dict[str, Path]:
        return {name: self.marked(f"ppo-{name}-{seed}", "end") for name in self.config.ppo_from}

    def manifest(self) -> dict[str, Any]:
        """What the report needs to know beside the records."""
        seeds, drift = [], []
        for seed in self.config.seeds:
            run = f"sft-{seed}"
            ends = self.ppo_ends(seed)
            seeds.append(
                {
                    "seed": seed,
                    "sft": run,
                    "best_ood": model_name(str(self.marked(run, "best-ood"))),
                    "end": model_name(str(self.marked(run, "end"))),
                    "ppo": {
                        name: {"start": f"{run}/checkpoint-{step}", "end": model_name(str(ends[name]))}
                        for name, step in self.config.ppo_from.items()
                    },
                }
            )
            drift += [row for first in ("base", "best-ood") for row in self._drift_rows(first, seed)]
        done = {
            path.stem: json.loads(path.read_text("utf-8")) for path in (self.out / "stages").glob("*.json")
        }
        return {
            "schema": 1,
            "config": Path(self.file).name,
            "settings": self.settings | {"reproduce": asdict(self.config) | {"output_dir": self.out.name}},
            "base": model_name(self.base),
            "seeds": seeds,
            "drift": drift,
            "seconds": {name: round(stage["seconds"], 1) for name, stage in sorted(done.items())},
            "machine": f"{os.cpu_count()} CPU cores",
        }

    def _train(self, trainer: str, out: str, parent: str, seed: int) -> list[str]:
        section = self.out / "settings" / f"{out}.yaml"
        # What may be replaced on the command line of this experiment stands in no shipped file.
        put(section, yaml.safe_dump({trainer: self.settings[trainer]}, sort_keys=False))
        overrides = [f"output_dir={self.out / out}", f"model_name_or_path={parent}", f"seed={seed}"]
        return ["train", trainer, "--config", str(section), *overrides]

    def _drift(self, first: str, name: str, seed: int) -> list[str]:
        run = f"sft-{seed}"
        ends = list(self.ppo_ends(seed).values())
        if first == "base":
            folders = [Path(self.base), *self.checkpoints(seed), *ends]
        else:
            folders = [self.marked(run, "best-ood"), self.marked(run, "end"), *ends]
        return ["drift", *map(str, folders), "-o", str(self.out / name)]

    def _drift_rows(self, first: str, seed: int) -> Iterator[dict[str, Any]]:
        found = json.loads((self.out / f"drift-{first}-{seed}" / "drift.json").read_text("utf-8"))
        command = shlex.split(found["command"])
        names = [model_name(word) for word in command[2 : command.index("-o")]]
        for step, checkpoint in enumerate(names[1:]):
            rows = [row for row in found["matrices"] if row["step"] == step]
            floors = [row["floor"] for row in rows]
            yield {
                "seed": seed,
                "first": names[0],
                "checkpoint": checkpoint,
                **_mean_drift(rows),
                "floor": _mean_drift(floors),
            }

    def _sweep(self, seed: int) -> list[str]:
        run = f"sft-{seed}"
        pair = {"source": str(self.marked(run, "best-ood")), "target": str(self.marked(run, "end"))}
        out = self.out / f"sweep-{seed}"
        recipe = {"output_dir": str(out), "pairs": [pair]} | self.settings["sweep"]
        path = self.out / "settings" / f"sweep-{seed}.yaml"
        put(path, yaml.safe_dump(recipe, sort_keys=False))
        return ["sweep", str(path)]

    def _cells(self, seed: int) -> list[str]:
        run = f"sft-{seed}"
        models = [Path(self.base), self.marked(run, "best-ood"), self.marked(run, "end")]
        models += self.ppo_ends(seed).values()
        sweep = self.settings["sweep"]
        flags = ["--engine", sweep.get("engine", "hf"), "--tasks", ",".join(CELLS_OF_RULE)]
        arguments = ",".join(f"{key}={value}" for key, value in sweep.get("model_args", {}).items())
        flags += ["--model_args", arguments, "--batch_size", str(sweep.get("batch_size", "auto"))]
        if sweep.get("limit") is not None:
            flags += ["--limit", str(sweep["limit"])]
        return ["eval", *dict.fromkeys(map(str, models)), "-o", str(self.out / f"cells-{seed}"), *flags]


def read_experiment(name: str, overrides: Sequence[str], variant: str | None = None) -> Experiment:
    """The experiment that a configuration file describes.

    Args:
        name: a file, or the name of one that ships.
        overrides: ``key=value`` for the section reproduce, ``sft.max_steps=…`` for another.
        variant: a section with what it replaces of the others: quick or demo.

    Raises:
        InputError: an unreadable file, or one that lacks a section.
    """
    path = config_file(name)
    sections = {each: read_settings(path, section=each) for each in ("reproduce", "sft", "ppo", "sweep")}
    if variant:
        for each, settings in read_settings(path, section=variant).items():
            if each not in sections or not isinstance(settings, dict):
                allowed = ", ".join(sections)
                raise InputError(f"config {path}: {variant}: expected sections {allowed}, found {each}")
            sections[each] |= settings
    for key, value in read_settings(None, overrides).items():
        section, dot, inner = key.partition(".")
        if dot and section not in sections:
            raise InputError(f"{key}: expected one of the sections {', '.join(sections)}")
        sections[section if dot else "reproduce"][inner if dot else key] = value
    config = configured(ReproduceConfig, sections.pop("reproduce"))
    for each, replaced in (("sft", config.sft), ("ppo", config.ppo)):
        sections[each] |= replaced
        for key in ("output_dir", "model_name_or_path", "seed"):
            sections[each].pop(key, None)
    return Experiment(config, name, sections)


def put(path: Path, text: str) -> None:
    """Write a file that nobody ever sees half of."""
    with replacing(path) as partial:
        partial.write_text(text, "utf-8")


def _mean_drift(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over matrices."""
    known = {key: [row[key] for row in rows if row[key] is not None] for key in ("values", "change")}
    deciles = zip(*(row["alignment"] for row in rows), strict=True)
    return {key: fmean(found) for key, found in known.items()} | {
        "alignment": [fmean(tenth) for tenth in deciles]
    }
