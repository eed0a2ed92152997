"""The paper's experiment: its stages, each of which is a `points24` command, and its manifest."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from points24.harness.checkpoints.shipped import model_folder, shipped
from points24.harness.config import config_file, configured, override, read_settings
from points24.harness.records.ingest import model_name
from points24.tasks.errors import InputError

_SET_HERE = {
    "sft": ("output_dir", "model_name_or_path", "seed"),
    "ppo": ("output_dir", "model_name_or_path", "seed"),
    "sweep": ("output_dir", "pairs"),
}
"""Sections of a configuration file, with the keys that depend on the stage."""

_SCORING = (
    *("engine", "model_args", "batch_size", "device", "fresh_engine"),
    *("limit", "apply_chat_template", "gen_kwargs", "seeds", "metadata"),
)
"""What `points24 eval` takes from the section sweep."""

TWO_BY_TWO = ("points24_face_id", "points24_plain_ood")
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
    num_threads: int | None = None
    """Of every stage: on a CPU the last bits of sums depend on it, and so do models. None: torch's choice."""
    sft: dict[str, Any] = field(default_factory=dict)
    ppo: dict[str, Any] = field(default_factory=dict)
    """What this experiment replaces of the sections sft and ppo."""

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"seeds: expected different ones, found {self.seeds}")
        if self.num_threads is not None and self.num_threads < 1:
            raise InputError(f"num_threads: expected at least 1, found {self.num_threads}")


@dataclass(frozen=True)
class Stage:
    """One command.

    Attributes:
        name: unique.
        command: its words, once the stages before are done; until then with a link or a pattern where the
            name of a checkpoint is not known.
        leftover: what a run that was killed may have left in the way.
    """

    name: str
    command: Callable[[], list[str]]
    leftover: Path | None = None


class Experiment:
    """What is to be done, and where it goes.

    <output_dir>/sft-<seed>, ppo-<start>-<seed>   training runs      stages/<name>.json   what is done
    <output_dir>/drift-…, sweep-…, 2x2-<seed>   what follows       logs/<name>.log      what stages print
    """

    def __init__(
        self,
        config: ReproduceConfig,
        file: str,
        sections: dict[str, dict[str, Any]],
        replaced: dict[str, dict[str, Any]],
    ):
        """Sections: sft, ppo and sweep as they stand in the file; replaced: what is otherwise here."""
        self.config, self.file, self.replaced = config, file, replaced
        self.settings = {
            name: {key: value for key, value in own.items() if key not in _SET_HERE[name]}
            | replaced.get(name, {})
            for name, own in sections.items()
        }
        self.out = Path(config.output_dir).expanduser().resolve()
        self.base = str(model_folder(config.base)) if config.base in shipped() else config.base

    @property
    def environment(self) -> dict[str, str]:
        """What the stages' commands need there."""
        threads = self.config.num_threads
        return {} if threads is None else {"OMP_NUM_THREADS": str(threads)}

    def shown(self, command: Sequence[str]) -> str:
        """A stage's command for a shell, which is to expand the pattern of checkpoints."""
        words = [word if word.endswith("checkpoint-*") else shlex.quote(word) for word in command]
        return " ".join([*(f"{name}={value}" for name, value in self.environment.items()), *words])

    def stages(self, seed: int) -> list[Stage]:
        """Those of one seed, in their order."""
        found = [Stage(f"sft-{seed}", lambda: self.train("sft", f"sft-{seed}", self.base, seed))]
        for name, step in self.config.ppo_from.items():
            start = self.out / f"sft-{seed}" / f"checkpoint-{step}"
            out = f"ppo-{name}-{seed}"
            found.append(Stage(out, lambda out=out, start=start: self.train("ppo", out, str(start), seed)))
        for first in ("base", "best-ood"):
            name = f"drift-{first}-{seed}"
            partial = self.out / f"{name}.partial"
            found.append(Stage(name, lambda first=first, name=name: self._drift(first, name, seed), partial))
        found.append(Stage(f"sweep-{seed}", lambda: self._sweep(seed)))
        found.append(Stage(f"2x2-{seed}", lambda: self._two_by_two(seed)))
        return found

    def done(self, stage: str) -> Path:
        """The file that is there once a stage is done: its command, environment and seconds."""
        return self.out / "stages" / f"{stage}.json"

    def checkpoints(self, seed: int) -> list[Path]:
        """Of the SFT run, by step."""
        folders = (self.out / f"sft-{seed}").glob("checkpoint-*")
        return sorted(folders, key=lambda folder: int(folder.name.removeprefix("checkpoint-")))

    def marked(self, run: str, mark: str) -> Path:
        """A run's checkpoint ``best-ood`` or ``final``."""
        return (self.out / run / mark).resolve()

    def ppo_finals(self, seed: int) -> dict[str, Path]:
        return {name: self.marked(f"ppo-{name}-{seed}", "final") for name in self.config.ppo_from}

    def manifest(self) -> dict[str, Any]:
        """What the report needs to know beside the records."""
        seeds, drift = [], []
        for seed in self.config.seeds:
            run = f"sft-{seed}"
            finals = self.ppo_finals(seed)
            seeds.append(
                {
                    "seed": seed,
                    "sft": run,
                    "best_ood": model_name(str(self.marked(run, "best-ood"))),
                    "final": model_name(str(self.marked(run, "final"))),
                    "ppo": {
                        name: {"start": f"{run}/checkpoint-{step}", "final": model_name(str(finals[name]))}
                        for name, step in self.config.ppo_from.items()
                    },
                }
            )
            drift += [row for first in ("base", "best-ood") for row in self._drift_rows(first, seed)]
        stages = sorted(stage.name for seed in self.config.seeds for stage in self.stages(seed))
        done = {name: json.loads(self.done(name).read_text("utf-8")) for name in stages}
        return {
            "schema": 2,
            "config": Path(self.file).name,
            "settings": self.settings | {"reproduce": asdict(self.config) | {"output_dir": self.out.name}},
            "base": model_name(self.base),
            "seeds": seeds,
            "drift": drift,
            "seconds": {name: round(stage["seconds"], 1) for name, stage in done.items()},
            "machine": f"{os.cpu_count()} CPU cores",
        }

    def train(self, trainer: str, out: str, parent: str, seed: int) -> list[str]:
        """One run of ``sft`` or ``ppo``: a process for each device that its settings ask for."""
        count = self.settings[trainer].get("num_processes") or 1
        torchrun = ["torchrun", "--standalone", "--nproc_per_node", str(count), "--no-python"]
        command = ["points24", "train", trainer, "--config", self.file, *self._overrides(trainer)]
        command += [f"output_dir={self.out / out}", f"model_name_or_path={parent}", f"seed={seed}"]
        return command if count == 1 else [*torchrun, *command]

    def _overrides(self, section: str) -> list[str]:
        return [override(key, value) for key, value in self.replaced.get(section, {}).items()]

    def _drift_folders(self, first: str, seed: int) -> list[str]:
        """The first, and every other checkpoint."""
        run = f"sft-{seed}"
        start = Path(self.base) if first == "base" else self.marked(run, "best-ood")
        checkpoints = self.checkpoints(seed) or [self.out / run / "checkpoint-*"]
        others = [folder for folder in checkpoints if folder != start]
        return [str(folder) for folder in (start, *others, *self.ppo_finals(seed).values())]

    def _drift(self, first: str, name: str, seed: int) -> list[str]:
        return ["points24", "drift", *self._drift_folders(first, seed), "-o", str(self.out / name)]

    def _drift_rows(self, first: str, seed: int) -> Iterator[dict[str, Any]]:
        found = json.loads((self.out / f"drift-{first}-{seed}" / "drift.json").read_text("utf-8"))
        names = [model_name(folder) for folder in self._drift_folders(first, seed)]
        for step, checkpoint in enumerate(names[1:]):
            rows = [row for row in found["matrices"] if row["step"] == step]
            yield {
                "seed": seed,
                "first": names[0],
                "checkpoint": checkpoint,
                **_mean_drift(rows),
                "floor": _mean_drift([row["floor"] for row in rows]),
            }

    def _sweep(self, seed: int) -> list[str]:
        run = f"sft-{seed}"
        pair = {"source": str(self.marked(run, "best-ood")), "target": str(self.marked(run, "final"))}
        command = ["points24", "sweep", self.file, *self._overrides("sweep")]
        return [*command, f"output_dir={self.out / f'sweep-{seed}'}", override("pairs", [pair])]

    def _two_by_two(self, seed: int) -> list[str]:
        run = f"sft-{seed}"
        finals = [self.marked(run, "best-ood"), self.marked(run, "final"), *self.ppo_finals(seed).values()]
        models = dict.fromkeys([self.base, *map(str, finals)])
        command = ["points24", "eval", *models, "-o", str(self.out / f"2x2-{seed}")]
        command += ["--tasks", ",".join(TWO_BY_TWO)]
        for name in _SCORING:
            value = self.settings["sweep"].get(name)
            if isinstance(value, dict):
                value = ",".join(override(*item) for item in value.items())
            elif isinstance(value, list):
                value = ",".join(map(str, value))
            if value:
                command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        return command


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
    own = {each: read_settings(path, section=each) for each in ("reproduce", *_SET_HERE)}
    smaller: dict[str, Any] = {each: {} for each in own}
    if variant:
        smaller |= read_settings(path, section=variant)
        wrong = [each for each in smaller if each not in own or not isinstance(smaller[each], dict)]
        if wrong:
            allowed = ", ".join(own)
            raise InputError(f"config {path}: {variant}: expected sections {allowed}, found {wrong[0]}")
    given: dict[str, dict[str, Any]] = {each: {} for each in own}
    for key, value in read_settings(None, overrides).items():
        section, dot, inner = key.partition(".")
        if dot and section not in own:
            raise InputError(f"{key}: expected one of the sections {', '.join(own)}")
        given[section if dot else "reproduce"][inner if dot else key] = value
    config = configured(ReproduceConfig, own.pop("reproduce") | smaller["reproduce"] | given["reproduce"])
    replaced = {each: smaller[each] | getattr(config, each, {}) | given[each] for each in own}
    for each, changes in replaced.items():
        if taken := [key for key in _SET_HERE[each] if key in changes]:
            raise InputError(f"{each}.{taken[0]} is the experiment's own: expected another key")
    return Experiment(config, name, own, replaced)


def runnable(command: Sequence[str]) -> list[str]:
    """A stage's command with this Python, wherever its programs are."""
    modules = {"points24": "points24.harness.cli", "torchrun": "torch.distributed.run"}
    words: list[str] = []
    for word in command:
        words += [sys.executable, "-m", modules[word]] if word in modules else [word]
    return words


def _mean_drift(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over matrices."""
    known = {key: [row[key] for row in rows if row[key] is not None] for key in ("values", "change")}
    deciles = zip(*(row["alignment"] for row in rows), strict=True)
    return {key: fmean(found) for key, found in known.items()} | {
        "alignment": [fmean(tenth) for tenth in deciles]
    }
