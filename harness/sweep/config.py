"""The settings of a sweep, and of an evaluation of stored checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from points24.harness.evaluation.engines import ENGINES, SERVERS
from points24.harness.evaluation.engines.engine import EngineConfig
from points24.tasks.errors import InputError
from points24.tasks.lm_eval.files import has_attempts

TASKS = ["points24_id", "points24_ood"]


@dataclass(kw_only=True)
class ScoringConfig(EngineConfig):
    """How checkpoints are scored, and where; what has a name in lm-eval has it here."""

    output_dir: str
    """Results are kept here; the same command again runs the jobs that are missing."""
    tasks: list[str] = field(default_factory=lambda: list(TASKS))
    apply_chat_template: bool = False
    limit: int | None = None
    """Only the first `limit` deals of each task."""
    gen_kwargs: dict[str, Any] = field(default_factory=dict)
    """Replaces the tasks' own, which decode greedily."""
    seeds: list[int] = field(default_factory=list)
    """Of sampling (``gen_kwargs: {do_sample: true, temperature: …}``); each is a job of its own."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """As ``--metadata`` of lm-eval: the template, the number of attempts."""
    retries: int = 1
    """How often jobs that failed are tried again, after all others."""
    executor: Literal["local", "slurm", "ray"] = "local"
    """Where jobs run; local is this process."""
    workers: int = 1
    """Processes side by side under slurm or ray, each with its own engine."""
    executor_args: dict[str, Any] = field(default_factory=dict)
    """Parameters of submitit (``slurm_partition``, ``gpus_per_node``, …; ``cluster: local`` needs no SLURM)
    or options of Ray's tasks (``num_gpus``, …; ``address`` of a cluster)."""

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise InputError(f"engine: expected {' or '.join(ENGINES)}, found {self.engine!r}")
        dialogues = [] if self.apply_chat_template else [task for task in self.tasks if has_attempts(task)]
        if dialogues:
            raise InputError(f"{dialogues[0]}: several attempts need apply_chat_template")
        if not self.tasks:
            raise InputError("tasks: expected at least one, found none")
        for name, least in (("workers", 1), ("retries", 0), ("limit", 1)):
            if (found := getattr(self, name)) is not None and found < least:
                raise InputError(f"{name}: expected at least {least}, found {found}")
        if self.executor == "local" and (self.workers > 1 or self.executor_args):
            raise InputError("workers and executor_args go with executor slurm or ray")
        sampling = bool(self.gen_kwargs.get("do_sample"))
        if self.seeds and not sampling:
            raise InputError(
                "seeds: greedy decoding needs none; sampling is gen_kwargs: {do_sample: true, …}"
            )
        if sampling and not self.seeds:
            raise InputError("seeds: sampling needs at least one, found none")
        if len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"seeds: expected different ones, found {self.seeds}")
        size = self.batch_size
        if not (size.startswith("auto") if isinstance(size, str) else size > 0):
            raise InputError(f"batch_size: expected at least 1, or auto, found {size!r}")
        if self.engine in SERVERS and not self.model_args.get("base_url"):
            raise InputError(f"model_args: engine {self.engine} needs base_url, the server's address")
        if taken := sorted({"pretrained", "model"} & self.model_args.keys()):
            raise InputError(f"model_args: {taken[0]} is the checkpoint, which pairs or models name")


@dataclass(kw_only=True)
class SweepConfig(ScoringConfig):
    """Every recipe for every pair of checkpoints; source and target of each pair are scored as well."""

    pairs: list[dict[str, Any]]
    """Each has ``source``, ``target`` and, for methods that need them, ``base`` and a list ``others``:
    folders or hub ids."""
    grid: list[dict[str, Any]]
    """Each stands for every combination of what it lists, under the names of `points24 recover`: method,
    layers, and the settings of the method."""
    keep: Literal["none", "best", "all"] = "none"
    """Which recovered checkpoints are written, below ``kept``: none, the best of each pair (the highest
    harmonic mean of what is recovered and retained), or all."""
    recover_device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to factorise and splice."""
    layer_prefix: str | None = None
    """As for `points24 recover`."""
    split: list[str] = field(default_factory=list)
    """Likewise: entries ``NAME=LAYOUT``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.engine in SERVERS:
            raise InputError(f"engine: expected hf or vllm, found {self.engine}, which serves its own models")
        for name in ("pairs", "grid"):
            if not getattr(self, name):
                raise InputError(f"{name}: expected at least one, found none")
        for pair in self.pairs:
            if not {"source", "target"} <= pair.keys() <= {"source", "target", "base", "others"}:
                raise InputError(
                    "pairs: expected source, target and maybe base and others, "
                    f"found {', '.join(pair) or 'nothing'}"
                )
            others = pair.get("others", [])
            names = [name for part, name in pair.items() if part != "others"]
            if not isinstance(others, list) or not all(isinstance(n, str) for n in (*names, *others)):
                raise InputError(f"pairs: expected folders or hub ids, found {pair}")


@dataclass(kw_only=True)
class EvalConfig(ScoringConfig):
    """Stored checkpoints, as they are."""

    models: list[str]
    """Folders or hub ids; with a server, the names it knows."""
    recipe: str | None = None
    """A file that says how the one model was made: method, source, target, settings."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.models:
            raise InputError("models: expected at least one, found none")
        if self.recipe and len(self.models) > 1:
            raise InputError(f"recipe: describes one model, found {len(self.models)}")
