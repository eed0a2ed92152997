"""What a sweep would take, before anything is done."""

from __future__ import annotations

from typing import Any

from points24.harness.checkpoints.write import size_of_copy
from points24.harness.sweep.config import ScoringConfig, SweepConfig
from points24.harness.sweep.jobs import Job
from points24.tasks.hand_sets import hand_set
from points24.tasks.lm_eval.files import task_hand_set


def plan_of(config: ScoringConfig, jobs: list[Job]) -> dict[str, Any]:
    """The plan of a campaign: counts, bytes on disk, and every job.

    What generation takes is not in it: that depends on the engine and on what the model says.
    """
    deals = sum(
        min(len(hand_set(name)), config.limit or len(hand_set(name)))
        for name in map(task_hand_set, config.tasks)
    )
    plan: dict[str, Any] = {
        "jobs": len(jobs),
        "pairs": len({job.pair for job in jobs if job.pair}),
        "deals_per_job": deals,
        "deals": deals * len(jobs),
        "factors_bytes": 0,
        "kept_bytes": 0,
        "models": [job.model for job in jobs],
    }
    keep = config.keep if isinstance(config, SweepConfig) else "none"
    for pair in dict.fromkeys(job.pair for job in jobs if job.pair):
        job = pair.open()
        copies = {"none": 0, "best": 1, "all": len(pair.recipes)}[keep]
        plan["kept_bytes"] += copies * size_of_copy(job.target)
        for name, parts in job.plan.matrices.items():
            sides = (min(part.shape(job.target.tensors[name].shape)) for part, _ in parts)
            plan["factors_bytes"] += sum(2 * 8 * side * (side + 1) for side in sides)
    return plan


def plan_text(plan: dict[str, Any]) -> str:
    """For people."""
    lines = [
        f"{plan['jobs']} jobs of {plan['deals_per_job']:,} deals, {plan['deals']:,} in all",
        *(f"  {model}" for model in plan["models"]),
    ]
    if plan["pairs"]:
        factors, kept = plan["factors_bytes"] / 2**30, plan["kept_bytes"] / 2**30
        lines.append(
            f"disk: {factors:.2f} GiB of factors while it runs, {kept:.2f} GiB of checkpoints that are kept"
        )
    return "\n".join(lines)
