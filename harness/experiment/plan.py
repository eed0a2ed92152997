"""What an experiment would run: exact counts and sizes from the trainers' own dry runs, and every command."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

from points24.harness.cli import runnable
from points24.harness.experiment.runner import build_command
from points24.harness.experiment.stages import TWO_BY_TWO, Experiment
from points24.harness.sweep.config import TASKS
from points24.harness.sweep.cost import deals_of
from points24.harness.sweep.grid import recipes_in
from points24.tasks.errors import InputError


def plan_text(experiment: Experiment, folder: Path) -> str:
    """The plan; `folder` is the leaderboards folder that results are added to."""
    config, sweep = experiment.config, experiment.settings["sweep"]
    seeds, starts, limit = len(config.seeds), len(config.ppo_from), sweep.get("limit")
    recipes, models = len(recipes_in(sweep["grid"])), starts + 3  # base, best OOD and final of SFT
    tasks = sweep.get("tasks", TASKS)
    lines = [
        f"seeds: {', '.join(map(str, config.seeds))}; from {experiment.base}",
        "",
        f"SFT: {seeds} runs of {_training(_dry_run(experiment, 'sft'))}",
    ]
    if starts:
        lines.append(f"PPO: {seeds * starts} runs of {_training(_dry_run(experiment, 'ppo'))}")
    lines += [
        f"sweep: {seeds} × {recipes + 2} checkpoints (source, target, {recipes} recovered) × "
        f"{deals_of(tasks, limit):,} deals",
        f"2x2: {seeds} × {models} checkpoints × {deals_of(TWO_BY_TWO, limit):,} deals",
        "",
    ]
    for seed in config.seeds:
        lines += [f"{stage.name}: {experiment.shown(stage.command())}" for stage in experiment.stages(seed)]
    return "\n".join([*lines, f"leaderboard: {shlex.join(build_command(folder))}"])


def _dry_run(experiment: Experiment, trainer: str) -> dict[str, Any]:
    """The trainer's dry run as JSON. PPO's parent does not exist yet; the base has the same shape."""
    command = experiment.train(trainer, trainer, experiment.base, experiment.config.seeds[0])
    command = [*command[command.index("points24") :], "--dry-run", "--json"]
    run = subprocess.run(runnable(command), capture_output=True, text=True, check=False)
    if run.returncode:
        raise InputError(run.stderr.strip().splitlines()[-1].removeprefix("points24: error: "))
    return json.loads(run.stdout)


def _training(found: dict[str, Any]) -> str:
    """``400 steps, about 1,234,567 tokens, 13 checkpoints of 5.4 MiB, 65.0 MiB of states``."""
    work, count = found["work"], len(found["checkpoint_steps"])
    if found["trainer"] == "ppo":
        tokens = f"at most {work['generated_tokens_at_most']:,} generated tokens"
    else:
        tokens = "tokens not known" if work["tokens"] is None else f"about {work['tokens']:,} tokens"
    sizes = {key: found[f"{key}_bytes"] for key in ("checkpoint", "states")}
    shown = {
        key: "size not known" if size is None else f"{size / 2**20:,.1f} MiB" for key, size in sizes.items()
    }
    return (
        f"{work['steps']:,} steps, {tokens}, {count} checkpoints ({shown['checkpoint']} each), states for "
        f"resuming ({shown['states']}, while it runs)"
    )
