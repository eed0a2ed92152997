"""lm-eval's models, kept alive over many checkpoints."""

from __future__ import annotations

from pkgutil import resolve_name

from points24.harness.evaluation.engines.engine import Engine, EngineConfig
from points24.tasks.errors import InputError

SERVERS = ("local-completions", "local-chat-completions")
ENGINES = {"hf": "hf:HF", "vllm": "vllm:VLLM"} | dict.fromkeys(SERVERS, "server:Server")
"""lm-eval's name -> module and class, which are imported when needed."""


def open_engine(config: EngineConfig) -> Engine:
    """The engine that a configuration names; it starts with its first model.

    Raises:
        InputError: no such engine, or a package that it needs is not installed.
    """
    if config.engine not in ENGINES:
        raise InputError(f"engine: expected {' or '.join(ENGINES)}, found {config.engine!r}")
    return resolve_name(f"{__name__}.{ENGINES[config.engine]}")(config)
