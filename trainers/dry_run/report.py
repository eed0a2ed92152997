"""A dry run as text."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from points24.harness.analysis.formats import size
from points24.harness.config import override
from points24.trainers.dry_run.dry_run import DryRun


def as_text(found: DryRun) -> str:
    """The whole report."""
    sections = {
        "settings given": _settings(found.given),
        "defaults of points24; other keys keep TRL's": _settings(found.defaults),
        "training": _rows(_training(found)),
        "disk": _rows(_disk(found)),
        "notes": "\n".join(found.notes),
        "commands": "\n".join(f"# {name}\n{command}" for name, command in found.commands.items()),
    }
    return "\n\n".join(_section(title, body) for title, body in sections.items() if body)


def _training(found: DryRun) -> dict[str, str]:
    work, rows = found.work, {"processes": f"{found.processes}"}
    if found.parameters is not None:
        rows["parameters"] = f"{found.parameters:,}, of which trained: {found.trained_parameters:,}"
    if "rollouts" in work:
        return rows | {
            "optimiser steps": f"{work['steps']:,}, {work['steps_per_rollout']} per rollout",
            "rollouts": f"{work['rollouts']:,}, {work['episodes']:,} episodes in all",
            "hands": f"{work['hands']:,}, each dealt {work['passes']:.1f} times on average",
            "replies": f"at most {work['replies_at_most']:,}",
            "tokens": f"at most {work['generated_tokens_at_most']:,} generated; "
            f"{work['trained_tokens_at_most']:,} trained on, over all epochs",
        }
    tokens = "not known without the tokenizer"
    if work["tokens"] is not None:
        tokens = f"about {work['tokens']:,}; {work['trained_tokens']:,} trained on"
    return rows | {
        "optimiser steps": f"{work['steps']:,} of {work['rows_per_step']:,} rows",
        "rows": f"{work['rows']:,}, {work['steps_per_epoch']:,} steps per epoch",
        "hands": f"{work['hands']:,}, {work['passes']:.1f} passes",
        "tokens": tokens,
    }


def _disk(found: DryRun) -> dict[str, str]:
    steps, each, states = found.checkpoint_steps, found.checkpoint_bytes, found.states_bytes
    shown = ", ".join(map(str, steps)) if len(steps) <= 24 else f"{steps[0]}, {steps[1]}, … {steps[-1]}"
    return {
        "checkpoints": f"{len(steps)}, after steps {shown}",
        "size": size(each) + ("" if each is None else f" each, {size(each * len(steps))} in all"),
        "for resuming": size(states) + ("" if states is None else " more while the run lasts"),
    }


def _settings(settings: dict[str, Any]) -> str:
    return "\n".join(override(key, value) for key, value in settings.items())


def _rows(rows: dict[str, str]) -> str:
    return tabulate(rows.items(), tablefmt="plain", disable_numparse=True)


def _section(title: str, body: str) -> str:
    return "\n".join([title, *(f"  {line}" for line in body.splitlines())])
