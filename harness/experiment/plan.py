"""What an experiment would run: exact counts and sizes from the trainers' own dry runs, and every command."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from tabulate import tabulate

from points24.harness.analysis.formats import size
from points24.harness.cli import runnable
from points24.harness.experiment.config import RL
from points24.harness.experiment.stages import Experiment
from points24.harness.sweep.config import TASKS
from points24.harness.sweep.cost import deals_of
from points24.harness.sweep.grid import recipes_in
from points24.harness.sweep.leaderboard import build_command
from points24.tasks.errors import InputError

_TRAINING = (
    *("training", "runs", "steps each", "tokens each", "checkpoints each", "states, while it runs"),
    "checkpoints in all",
)


def plan_text(experiment: Experiment, folder: Path) -> str:
    """The plan; `folder` is the leaderboards folder that results are added to."""
    config, sweep = experiment.config, experiment.settings["sweep"]
    stages = [stage for seed in config.seeds for stage in experiment.stages(seed)]
    count = Counter(stage.kind for stage in stages)
    found = {trainer: _dry_run(experiment, trainer) for trainer in ("sft", *RL) if count[trainer]}
    recipes, finals = len(recipes_in(sweep["grid"])), sum(len(experiment.starts(trainer)) for trainer in RL)
    limit = sweep.get("limit")
    of_sweep = deals_of(sweep.get("tasks", TASKS), limit)
    scored = [
        ("sweep", count["sweep"] * (recipes + 2), of_sweep),
        ("reverse", count["reverse"] * (len(recipes_in(config.reverse)) + 2), of_sweep),
        # Of the base, the best OOD and the final checkpoint of SFT as well.
        ("2x2", count["2x2"] * (finals + 3), deals_of(config.further_tasks, limit)),
    ]
    return "\n".join(
        [
            f"seeds: {', '.join(map(str, config.seeds))}; from {experiment.base}",
            "",
            tabulate(
                [_training(each, count[name]) for name, each in found.items()],
                _TRAINING,
                disable_numparse=True,
            ),
            *dict.fromkeys(f"note: {note}" for each in found.values() for note in each["notes"]),
            "",
            tabulate([row for row in scored if row[1]], ("scoring", "checkpoints", "deals each"), intfmt=","),
            "",
            *(f"{stage.name}: {experiment.shown(stage.command())}" for stage in stages),
            f"leaderboard: {shlex.join(build_command(folder))}",
        ]
    )


def _dry_run(experiment: Experiment, trainer: str) -> dict[str, Any]:
    """The trainer's dry run as JSON. RL's parent does not exist yet; the base has the same shape."""
    command = experiment.train(trainer, trainer, experiment.base, experiment.config.seeds[0])
    command = [*command[command.index("points24") :], "--dry-run", "--json"]
    run = subprocess.run(runnable(command), capture_output=True, text=True, check=False)
    if run.returncode:
        raise InputError(run.stderr.strip().splitlines()[-1].removeprefix("points24: error: "))
    return json.loads(run.stdout)


def _training(found: dict[str, Any], runs: int) -> list[str]:
    """One row of the table of training runs."""
    work, count = found["work"], len(found["checkpoint_steps"])
    checkpoint, states = found["checkpoint_bytes"], found["states_bytes"]
    if found["trainer"] in RL:
        tokens = f"at most {work['generated_tokens_at_most']:,} generated"
    else:
        tokens = "not known" if work["tokens"] is None else f"about {work['tokens']:,}"
    return [
        found["trainer"],
        f"{runs}",
        f"{work['steps']:,}",
        tokens,
        f"{count} of {size(checkpoint)}",
        size(states),
        size(None if checkpoint is None else runs * count * checkpoint),
    ]
