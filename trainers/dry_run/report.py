"""A dry run, for people."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, NamedTuple

import yaml
from tabulate import tabulate

from points24.trainers.dry_run.dry_run import DryRun
from points24.trainers.dry_run.estimate import Disk, Estimate, PPOWork
from points24.trainers.dry_run.memory import Memory

_ROUGH = ("working_copies", "activations", "head", "generation")


def as_text(found: DryRun) -> str:
    """The whole report."""
    known = found.estimate
    parts = [
        _section("settings given", _settings(found.given)),
        _section("defaults of points24; other keys keep TRL's", _settings(found.defaults)),
        _section("training", _rows(_training(known))),
        _section("disk", _rows(_disk(known.disk))),
    ]
    if known.memory:
        parts.append(
            _section(
                "memory of each device (~ is rough; see points24.trainers.dry_run.memory)", _memory(known)
            )
        )
    parts.append(_section("notes", "\n".join(found.notes)))
    commands = "\n".join(f"# {name}\n{command}" for name, command in found.commands.items())
    parts.append(_section("commands", commands))
    return "\n\n".join(parts)


def _training(known: Estimate) -> dict[str, str]:
    work, size = known.work, known.lengths
    rows = {"processes": f"{known.processes}, sharding: {known.sharding.kind}"}
    if known.shape is not None:
        rows["parameters"] = f"{known.shape.parameters:,}, of which trained: {known.trained:,}"
    guess = "" if size.measured else " (guessed)"
    rows["sequence"] = f"up to {size.longest:,} tokens{guess}; prompt {size.prompt:.0f} on average"
    if isinstance(work, PPOWork):
        return rows | {
            "optimiser steps": f"{work.steps:,}, {work.steps_per_rollout} for each rollout",
            "rollouts": f"{work.rollouts:,}, {work.episodes:,} episodes in all",
            "hands": f"{work.hands:,}, each met {work.passes:.1f} times on average",
            "replies": f"at most {work.replies_at_most:,}",
            "tokens": f"at most {work.generated_tokens_at_most:,} generated, "
            f"{work.trained_tokens_at_most:,} trained on over the epochs",
        }
    tokens = "not known without the tokenizer"
    if work.tokens is not None:
        tokens = f"about {work.tokens:,}, of which trained on: {work.trained_tokens:,}"
    return rows | {
        "optimiser steps": f"{work.steps:,} of {work.rows_per_step:,} rows",
        "rows": f"{work.rows:,}, gone through {work.epochs:g} times",
        "hands": f"{work.hands:,}, {work.passes:.1f} passes",
        "tokens": tokens,
    }


def _disk(disk: Disk) -> dict[str, str]:
    steps = disk.checkpoints
    shown = ", ".join(map(str, steps)) if len(steps) <= 24 else f"{steps[0]}, {steps[1]}, … {steps[-1]}"
    rows = {"checkpoints": f"{len(steps)}: {shown}"}
    if disk.one_checkpoint is None or disk.all_checkpoints is None or disk.states is None:
        return rows | {"size": "not known"}
    return rows | {
        "size": f"{_bytes(disk.one_checkpoint)} each, {_bytes(disk.all_checkpoints)} in all",
        "while it runs": f"{_bytes(disk.states)} more, for resuming",
    }


def _memory(known: Estimate) -> str:
    unit = _unit(max(variant.memory.total for variant in known.memory))
    rows = {
        f"{'~ ' if f.name in _ROUGH else ''}{f.name.replace('_', ' ')}": [
            getattr(variant.memory, f.name) for variant in known.memory
        ]
        for f in fields(Memory)
    } | {"~ peak": [variant.memory.total for variant in known.memory]}
    rows = {name: sizes for name, sizes in rows.items() if any(sizes)}
    table = [[name, *(f"{size / unit.size:,.1f}" for size in sizes)] for name, sizes in rows.items()]
    headers = [unit.name, *(variant.name for variant in known.memory)]
    return tabulate(
        table, headers, tablefmt="simple", disable_numparse=True, colalign=["left", *["right"] * 3]
    )


def _settings(settings: dict[str, Any]) -> str:
    """As YAML, each key on a line of its own."""
    return "\n".join(f"{key}: {_inline(value)}" for key, value in settings.items())


def _inline(value: object) -> str:
    return yaml.safe_dump([value], default_flow_style=True, width=10**6, allow_unicode=True).strip()[1:-1]


def _rows(rows: dict[str, str]) -> str:
    width = max(map(len, rows))
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows.items())


def _section(title: str, body: str) -> str:
    indented = "\n".join(f"  {line}" if line else "" for line in body.splitlines())
    return f"{title}\n{indented}"


class _Unit(NamedTuple):
    name: str
    size: int


def _unit(size: int) -> _Unit:
    return _Unit("GiB", 2**30) if size >= 2**30 else _Unit("MiB", 2**20)


def _bytes(size: int) -> str:
    unit = _unit(size)
    return f"{size / unit.size:,.1f} {unit.name}"
