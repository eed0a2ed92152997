"""What an experiment would run: exact counts and sizes from the trainers' own dry runs, and every command."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

from tabulate import tabulate

from points24.harness.analysis.formats import size
from points24.harness.cli import runnable
from points24.harness.experiment.stages import RL, Experiment
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
    seeds, limit = len(config.seeds), sweep.get("limit")
    starts = {trainer: len(found) for trainer in RL if (found := experiment.starts(trainer))}
    runs = {"sft": seeds} | {trainer: seeds * count for trainer, count in starts.items()}
    found = {trainer: _dry_run(experiment, trainer) for trainer in runs}
    recipes, finals = len(recipes_in(sweep["grid"])), sum(starts.values())
    of_sweep = deals_of(sweep.get("tasks", TASKS), limit)
    scored = [("sweep", seeds * (recipes + 2), of_sweep)]
    if config.reverse:
        scored.append(("reverse", seeds * starts["ppo"] * (len(recipes_in(config.reverse)) + 2), of_sweep))
    if config.further_tasks:  # of the base, the best OOD and the final checkpoint of SFT as well
        scored.append(("2x2", seeds * (finals + 3), deals_of(config.further_tasks, limit)))
    stages = [stage for seed in config.seeds for stage in experiment.stages(seed)]
    return "\n".join(
        [
            f"seeds: {', '.join(map(str, config.seeds))}; from {experiment.base}",
            "",
            tabulate([_training(found[name], runs[name]) for name in runs], _TRAINING, disable_numparse=True),
            *dict.fromkeys(f"note: {note}" for each in found.values() for note in each["notes"]),
            "",
            tabulate(scored, ("scoring", "checkpoints", "deals each"), intfmt=","),
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
