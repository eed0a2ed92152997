"""The tasks' YAML files: their folder and their contents, read without lm-eval."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from points24.tasks.protocols.protocol import DEFAULT

TASK_FILES = Path(__file__).resolve().parent / "points24"
"""The folder of the YAML files, for ``lm_eval --include_path``."""


def task_names() -> list[str]:
    """The name of every task and group, in alphabetical order."""
    return sorted(keys.get("task") or keys["group"] for keys in _files())


def task_version(task: str) -> str | None:
    """The installed version of a task; None where there is no such task."""
    return _settings(task).get("version")


def task_hand_set(task: str) -> str:
    """The name of a task's hand set.

    Raises:
        KeyError: there is no such task.
    """
    return _settings(task)["hand_set"]


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
