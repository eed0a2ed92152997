"""The paper's experiment as stages, each of which is one `points24` command."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from points24.harness.checkpoints.locate import by_name
from points24.harness.config import override
from points24.harness.experiment.config import RL, SET_BY_STAGE, ReproduceConfig, Settings, read_config
from points24.harness.sweep.grid import recipes_in

DRIFT_FROM = ("base", "best-ood")
"""What drift is measured from."""

_SCORING = (
    *("engine", "model_args", "batch_size", "device", "fresh_engine"),
    *("limit", "apply_chat_template", "gen_kwargs", "seeds", "metadata"),
)
"""The settings of the section sweep that are flags of `points24 eval`."""


@dataclass(frozen=True)
class Stage:
    """One command of one seed."""

    name: str
    """``<kind>-…-<seed>``, such as ``ppo-early-0``; its output folder below the experiment's."""
    command: Callable[[], list[str]]
    """Its words. Until the stages before are done, a link or a pattern stands for an unknown checkpoint."""
    whole: Path | None = None
    """A folder that its command makes as a whole, and refuses to make again."""

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return self.name.partition("-")[0]


class Experiment:
    """What to run, and where each output goes; README.md shows the folders."""

    def __init__(self, config: ReproduceConfig, file: str, sections: Settings, replaced: Settings):
        """Take the arguments from `read_config`; `file` is the configuration file as commands name it."""
        self.config, self.file, self.replaced = config, file, replaced
        self.settings = {
            section: {key: value for key, value in own.items() if key not in SET_BY_STAGE[section]}
            | replaced.get(section, {})
            for section, own in sections.items()
        }
        self.out = Path(config.output_dir).expanduser().resolve()
        self.base = str(by_name(config.base) or config.base)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of every stage."""
        threads = self.config.num_threads
        return {} if threads is None else {"OMP_NUM_THREADS": str(threads)}

    def shown(self, command: Sequence[str]) -> str:
        """A stage's command as typed into a shell, which expands the pattern of checkpoints."""
        words = [word if word.endswith("checkpoint-*") else shlex.quote(word) for word in command]
        return " ".join([*(f"{name}={value}" for name, value in self.environment.items()), *words])

    def stages(self, seed: int) -> list[Stage]:
        """The stages of one seed, in order."""
        return [stage for stage in self._stages(seed) if stage.kind in self.config.kinds]

    def _stages(self, seed: int) -> list[Stage]:
        found = [Stage(f"sft-{seed}", lambda: self.train("sft", f"sft-{seed}", self.base, seed))]
        for trainer in RL:
            for start, step in self.starts(trainer).items():
                folder, name = self.out / f"sft-{seed}" / f"checkpoint-{step}", f"{trainer}-{start}-{seed}"
                found.append(Stage(name, lambda t=trainer, n=name, f=folder: self.train(t, n, str(f), seed)))
        for first in DRIFT_FROM:
            name = f"drift-{first}-{seed}"
            found.append(Stage(name, lambda f=first, n=name: self._drift(f, n, seed), self.out / name))
        found.append(Stage(f"sweep-{seed}", lambda: self._sweep(seed)))
        for start in self.config.ppo_from if self.config.reverse else ():
            name = f"reverse-{start}-{seed}"
            found.append(Stage(name, lambda n=name, s=start: self._reverse(n, s, seed)))
        if self.config.further_tasks:
            found.append(Stage(f"2x2-{seed}", lambda: self._further(seed)))
        found.append(Stage(f"shift-{seed}", lambda: self._shift(seed)))
        return found

    def starts(self, trainer: str) -> dict[str, int]:
        """Of one of `RL`: name of the start -> its SFT step."""
        return getattr(self.config, f"{trainer}_from")

    def done(self, stage: str) -> Path:
        """The file that exists once a stage is done."""
        return self.out / "stages" / f"{stage}.json"

    def checkpoints(self, seed: int) -> list[Path]:
        """The checkpoints of the SFT run, by step."""
        folders = (self.out / f"sft-{seed}").glob("checkpoint-*")
        return sorted(folders, key=lambda folder: int(folder.name.removeprefix("checkpoint-")))

    def marked(self, run: str, mark: str) -> Path:
        """The checkpoint of a run that its link ``best-ood`` or ``final`` points to."""
        return (self.out / run / mark).resolve()

    def finals(self, trainer: str, seed: int) -> dict[str, Path]:
        """Of one of `RL`: start -> the final checkpoint of its run."""
        return {name: self.marked(f"{trainer}-{name}-{seed}", "final") for name in self.starts(trainer)}

    def drift_folders(self, first: str, seed: int) -> list[Path]:
        """What drift is measured from (one of `DRIFT_FROM`), then every checkpoint it is measured to."""
        run = f"sft-{seed}"
        start = Path(self.base) if first == "base" else self.marked(run, "best-ood")
        checkpoints = self.checkpoints(seed) or [self.out / run / "checkpoint-*"]
        others = [folder for folder in checkpoints if folder != start]
        return [start, *others, *self._all_finals(seed)]

    def _all_finals(self, seed: int) -> list[Path]:
        return [folder for trainer in RL for folder in self.finals(trainer, seed).values()]

    def train(self, trainer: str, name: str, parent: str, seed: int) -> list[str]:
        """One run of a trainer, with as many processes as its settings ask for."""
        count = self.settings[trainer].get("num_processes") or 1
        torchrun = ["torchrun", "--standalone", "--nproc_per_node", str(count), "--no-python"]
        command = ["points24", "train", trainer, "--config", self.file, *self._overrides(trainer)]
        command += [f"output_dir={self.out / name}", f"model_name_or_path={parent}", f"seed={seed}"]
        return command if count == 1 else [*torchrun, *command]

    def _drift(self, first: str, name: str, seed: int) -> list[str]:
        folders = map(str, self.drift_folders(first, seed))
        return ["points24", "drift", *folders, "-o", str(self.out / name)]

    def _shift(self, seed: int) -> list[str]:
        checkpoints = self.checkpoints(seed) or [self.out / f"sft-{seed}" / "checkpoint-*"]
        command = ["points24", "shift", self.base, *map(str, checkpoints)]
        command += ["-o", str(self.shift_folder(seed))]
        if "drift" in self.config.kinds:
            command += ["--drift", str(self.out / f"drift-{DRIFT_FROM[0]}-{seed}" / "drift.json")]
        scoring = self.settings["sweep"]
        given = {
            "dtype": scoring.get("model_args", {}).get("dtype"),
            "limit": scoring.get("limit"),
            "template": scoring.get("metadata", {}).get("template"),
        } | self.config.shift
        for name, value in given.items():
            command += [f"--{name}", str(value)] if value else []
        return command + ["--apply_chat_template"] * bool(scoring.get("apply_chat_template"))

    def shift_folder(self, seed: int) -> Path:
        """What `points24 shift` has measured on the SFT run."""
        return self.out / f"shift-{seed}"

    def _sweep(self, seed: int) -> list[str]:
        """From the best OOD checkpoint of SFT into the final one; others are those between."""
        source, target = (self.marked(f"sft-{seed}", mark) for mark in ("best-ood", "final"))
        pair: dict[str, Any] = {"source": str(source), "target": str(target)}
        methods = [recipe.method for recipe in recipes_in(self.settings["sweep"].get("grid", []))]
        if any(method.needs_base for method in methods):
            pair["base"] = self.base
        if any(method.needs_others for method in methods):
            run = self.checkpoints(seed)
            first, last = (run.index(end) if end in run else 0 for end in (source, target))
            pair["others"] = [str(folder) for folder in run[first + 1 : last]]
        return self._recover(f"sweep-{seed}", pair)

    def _reverse(self, name: str, start: str, seed: int) -> list[str]:
        """From the final SFT checkpoint into the final PPO one."""
        pair = {
            "source": str(self.marked(f"sft-{seed}", "final")),
            "target": str(self.marked(f"ppo-{start}-{seed}", "final")),
        }
        return [*self._recover(name, pair), override("grid", self.config.reverse)]

    def _recover(self, name: str, pair: Mapping[str, Any]) -> list[str]:
        command = ["points24", "sweep", self.file, *self._overrides("sweep")]
        return [*command, f"output_dir={self.out / name}", override("pairs", [pair])]

    def _further(self, seed: int) -> list[str]:
        run = f"sft-{seed}"
        chosen = [self.marked(run, "best-ood"), self.marked(run, "final"), *self._all_finals(seed)]
        models = dict.fromkeys([self.base, *map(str, chosen)])
        command = ["points24", "eval", *models, "-o", str(self.out / f"2x2-{seed}")]
        command += ["--tasks", ",".join(self.config.further_tasks)]
        for name in _SCORING:
            value = self.settings["sweep"].get(name)
            if isinstance(value, dict):
                value = ",".join(override(*item) for item in value.items())
            elif isinstance(value, list):
                value = ",".join(map(str, value))
            if value:
                command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        return command

    def _overrides(self, section: str) -> list[str]:
        return [override(key, value) for key, value in self.replaced.get(section, {}).items()]


def read_experiment(
    name: str, overrides: Sequence[str], variant: str | None = None, training: str | None = None
) -> Experiment:
    """The experiment that a configuration file describes; arguments and errors as for `read_config`."""
    found = read_config(name, overrides, variant, training)
    return Experiment(found.config, name, found.sections, found.replaced)


def read_experiments(name: str, overrides: Sequence[str], variant: str | None = None) -> list[Experiment]:
    """Likewise, then those of its trainings."""
    first = read_experiment(name, overrides, variant)
    return [first, *(read_experiment(name, overrides, variant, each) for each in first.config.trainings)]
