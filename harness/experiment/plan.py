"""What an experiment would take: stages, commands, GPU hours and disk, from the trainers' own dry runs."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from points24.harness.experiment.stages import TWO_BY_TWO, Experiment, runnable
from points24.harness.sweep.grid import recipes_in
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import hand_set
from points24.tasks.lm_eval.files import task_hand_set

PEAK = 989e12
"""Floating-point operations a second of one GPU: an H100 or H200, dense, bf16 (NVIDIA's data sheet)."""
TRAINING, GENERATION = 0.4, 0.05
"""Shares of that which are reached. A guess: of training as large models commonly report it; of generation,
which waits for memory, for batches of some hundred."""


def plan_text(experiment: Experiment) -> str:
    """The whole plan."""
    seeds = experiment.config.seeds
    sft, ppo = (_dry_run(experiment, trainer) for trainer in ("sft", "ppo"))
    rows = [("SFT", 1, *_training(sft)), ("PPO", len(experiment.config.ppo_from), *_training(ppo))]
    sweep, cells = experiment.settings["sweep"], len(experiment.config.ppo_from) + 3
    recipes = len(recipes_in(sweep["grid"]))
    tasks = sweep.get("tasks", ["points24_id", "points24_ood"])
    rows.append(("recovery sweep", 1, _scoring(sft, tasks, sweep.get("limit")) * (recipes + 2), 0.0))
    rows.append(("hands x rule", 1, _scoring(sft, TWO_BY_TWO, sweep.get("limit")) * cells, 0.0))
    lines = [f"seeds: {', '.join(map(str, seeds))}; from {experiment.base}", ""]
    hours = disk = 0.0
    for name, count, each_hours, each_disk in rows:
        total, space = count * len(seeds) * each_hours, count * len(seeds) * each_disk
        hours, disk = hours + total, disk + space
        times = f"{name:16} {count * len(seeds):3} x {each_hours:9.3g} GPU h"
        lines.append(f"{times} = {total:9.3g} GPU h, {space / 1e12:9.3g} TB")
    lines += [
        f"{'in all':31} = {hours:9.3g} GPU h, {disk / 1e12:9.3g} TB",
        f"(a GPU of {PEAK / 1e12:.0f} TFLOP/s; {TRAINING:.0%} of them in training, {GENERATION:.0%} in "
        "generation; at most: replies as long as they may be in PPO. Factorising is not in it: "
        "points24 sweep --dry-run has it once the checkpoints are there.)",
        "",
    ]
    for seed in seeds:
        lines += [f"{stage.name}: {experiment.shown(stage.command())}" for stage in experiment.stages(seed)]
    return "\n".join(lines)


def _dry_run(experiment: Experiment, trainer: str) -> dict[str, Any]:
    """The trainer's own, as JSON; of PPO the shape is what counts, and no checkpoint is there yet."""
    command = experiment.train(trainer, trainer, experiment.base, experiment.config.seeds[0])
    command = [*command[command.index("points24") :], "--dry-run", "--json"]
    run = subprocess.run(runnable(command), capture_output=True, text=True, check=False)
    if run.returncode:
        raise InputError(run.stderr.strip().splitlines()[-1].removeprefix("points24: error: "))
    return json.loads(run.stdout)


def _training(found: dict[str, Any]) -> tuple[float, float]:
    """(GPU hours, bytes) of one run, its checkpoints scored."""
    known, settings = found["estimate"], found["defaults"] | found["given"]
    size, work, lengths = _parameters(found), known["work"], known["lengths"]
    recomputes = settings.get("gradient_checkpointing") or (settings.get("fsdp_config") or {}).get(
        "activation_checkpointing"
    )
    each = (8 if recomputes else 6) * size
    if "rollouts" in work:
        trained, generated = work["trained_tokens_at_most"], work["generated_tokens_at_most"]
        generated += work["replies_at_most"] * lengths["prompt"]
    else:
        trained = work["tokens"] or work["rows"] * (lengths["prompt"] + lengths["reply"])
        generated = 0
    hours = _hours(each * trained, TRAINING) + _hours(2 * size * generated, GENERATION)
    checkpoints = len(known["disk"]["checkpoints"]) + 1
    hours += checkpoints * _scoring(found, settings["score_tasks"], settings.get("score_limit"))
    return hours, known["disk"]["all_checkpoints"] + known["disk"]["states"]


def _scoring(found: dict[str, Any], tasks: Any, limit: int | None) -> float:
    """GPU hours of scoring one checkpoint with right replies."""
    deals = sum(min(len(hand_set(task_hand_set(task))), limit or 10**9) for task in tasks)
    lengths = found["estimate"]["lengths"]
    tokens = deals * (lengths["prompt"] + lengths["reply"])
    return _hours(2 * _parameters(found) * tokens, GENERATION)


def _parameters(found: dict[str, Any]) -> int:
    shape = found["estimate"]["shape"]
    if shape is None:
        raise InputError(f"{found['given']['model_name_or_path']}: its size is not known")
    return shape["parameters"]


def _hours(operations: float, share: float) -> float:
    return operations / (PEAK * share) / 3600
