"""The tasks' YAML files: their folder and their contents, read without lm-eval."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from points24.tasks.cards import parse_rule
from points24.tasks.hand_sets import HandSet, hand_set
from points24.tasks.protocols.protocol import DEFAULT

TASK_FILES = Path(__file__).resolve().parent / "points24"
"""The folder of the YAML files, for ``lm_eval --include_path``."""


def task_names() -> list[str]:
    """The name of every task and group, in alphabetical order."""
    return sorted(keys.get("task") or keys["group"] for keys in _files())


def task_version(task: str) -> str | None:
    """The installed version of a task; None where there is no such task."""
    return _settings(task).get("version")


def task_hands(task: str) -> HandSet:
    """A task's hand set, under its rule and with its target.

    Raises:
        KeyError: there is no such task.
    """
    settings = _settings(task)
    rule, target = settings.get("rule"), settings.get("target")
    return hand_set(settings["hand_set"], parse_rule(rule) if rule else None, int(target) if target else None)


def task_template(task: str) -> str | None:
    """The name of the prompt template that a task has instead of its protocol's."""
    return _settings(task).get("template")


def task_protocol(task: str) -> str:
    """The name of the protocol that a task has unless ``--metadata`` names another."""
    return _settings(task).get("protocol", DEFAULT)


def has_attempts(task: str) -> bool:
    """Whether the task is a dialogue of several attempts, which needs a chat template."""
    return "_revise_" in _settings(task).get("include", "")


def _settings(task: str) -> dict[str, str]:
    return next((keys for keys in _files() if keys.get("task") == task), {})


@lru_cache(maxsize=1)
def _files() -> tuple[dict[str, str], ...]:
    """The plain ``key: value`` lines of each file, since !function tags need lm-eval's loader."""
    return tuple(
        dict(line.strip().split(": ", 1) for line in path.read_text("utf-8").splitlines() if ": " in line)
        for path in sorted(TASK_FILES.glob("*.yaml"))
    )
