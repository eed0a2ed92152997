"""What a campaign would run and store, before anything is done: counts and bytes that are exact."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from points24.harness.checkpoints.write import size_of_copy
from points24.harness.recovery.estimate import factors_bytes
from points24.harness.sweep.config import ScoringConfig, SweepConfig
from points24.harness.sweep.jobs import Job, Pair
from points24.tasks.lm_eval.files import task_hands


def plan_of(config: ScoringConfig, jobs: list[Job]) -> dict[str, Any]:
    """The plan of a campaign: counts, bytes, and the model of every job.

    How long it takes is not in it: that depends on the engine and on what the models reply.
    """
    pairs = dict.fromkeys(job.pair for job in jobs if job.pair)
    keep = config.keep if isinstance(config, SweepConfig) else "none"
    deals = deals_of(config.tasks, config.limit)
    sizes = [bytes_of(pair, keep) for pair in pairs]
    return {
        "jobs": len(jobs),
        "pairs": len(pairs),
        "deals_per_job": deals,
        "deals": deals * len(jobs),
        "factors_bytes": sum(factors for factors, _ in sizes),
        "kept_bytes": sum(kept for _, kept in sizes),
        "models": [job.model for job in jobs],
    }


def plan_text(plan: dict[str, Any]) -> str:
    """The plan for people."""
    lines = [
        f"{plan['jobs']} jobs of {plan['deals_per_job']:,} deals, {plan['deals']:,} in all",
        *(f"  {model}" for model in plan["models"]),
    ]
    if plan["pairs"]:
        lines.append(
            f"disk: {plan['factors_bytes'] / 2**30:.2f} GiB of factors while it runs, "
            f"{plan['kept_bytes'] / 2**30:.2f} GiB of checkpoints that are kept"
        )
    return "\n".join(lines)


def deals_of(tasks: Iterable[str], limit: int | None) -> int:
    """The deals of all tasks together, at most `limit` of each."""
    return sum(len(task_hands(task).deals[:limit]) for task in tasks)


def bytes_of(pair: Pair, keep: str) -> tuple[int, int]:
    """Bytes of a pair's factors, and of its recovered checkpoints that are kept."""
    plan, target = pair.planned()
    kept = {"none": 0, "best": 1, "all": len(pair.recipes)}[keep] * size_of_copy(target)
    return sum(factors_bytes(plan, target).values()), kept
