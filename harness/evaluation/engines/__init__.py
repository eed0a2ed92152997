"""lm-eval's models, kept alive over many checkpoints.

engine.py   what an engine is, and what it can hold      hf.py       transformers
canary.py   are these the weights?                       vllm.py     vLLM, weights swapped in place
                                                         server.py   an OpenAI-compatible server
"""

from __future__ import annotations

from points24.harness.evaluation.engines.engine import Engine, EngineConfig
from points24.tasks.errors import InputError

SERVERS = ("local-completions", "local-chat-completions")
ENGINES = ("hf", "vllm", *SERVERS)
"""By lm-eval's names."""


def open_engine(config: EngineConfig) -> Engine:
    """The engine of that name; it starts when it is given its first model.

    Raises:
        InputError: no such engine, or what it needs is not installed.
    """
    if config.engine == "hf":
        from points24.harness.evaluation.engines.hf import HF

        return HF(config)
    if config.engine == "vllm":
        from points24.harness.evaluation.engines.vllm import VLLM

        return VLLM(config)
    if config.engine in SERVERS:
        from points24.harness.evaluation.engines.server import Server

        return Server(config)
    raise InputError(f"engine: expected {' or '.join(ENGINES)}, found {config.engine!r}")
