"""Jobs: one model each, under one seed. A job's key is a digest of all that decides its outcomes."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any

from points24.harness.checkpoints.digest import BESIDE, weights_digest
from points24.harness.checkpoints.locate import locate
from points24.harness.checkpoints.opening import read_config
from points24.harness.checkpoints.read import Checkpoint
from points24.harness.evaluation.engines import SERVERS
from points24.harness.evaluation.score import asked
from points24.harness.files import sha256
from points24.harness.records.ingest import model_name
from points24.harness.recovery.elsewhere import mergekit_recipe, recipe_in
from points24.harness.recovery.estimate import plan_by_shapes
from points24.harness.recovery.families.family import Family
from points24.harness.recovery.plan import Plan, family_for
from points24.harness.recovery.recipe import Recipe, check_needs
from points24.harness.recovery.recover import CheckedPair
from points24.harness.sweep.config import EvalConfig, ScoringConfig, SweepConfig
from points24.harness.sweep.grid import recipes_in
from points24.tasks.errors import InputError
from points24.tasks.lm_eval.files import task_version

_DECIDING = ("engine", "model_args", "batch_size", "apply_chat_template", "limit", "gen_kwargs")
"""The settings that decide outcomes, besides tasks and seed."""


@dataclass(frozen=True)
class Pair:
    """A source, a target, and every recipe for them; its jobs share it."""

    source: Path
    target: Path
    base: Path | None
    recipes: tuple[Recipe, ...]
    layer_prefix: str | None
    split: tuple[str, ...]
    given: tuple[str, ...]
    """Source, target and base as the user gave them: paths or hub ids."""
    others: tuple[tuple[Path, str], ...] = ()
    """Further checkpoints: folders, and what the user gave."""

    @property
    def family(self) -> Family:
        return family_for(read_config(self.target), self.layer_prefix, self.recipes, self.split)

    @property
    def names(self) -> tuple[str, str]:
        """What records call source and target."""
        return model_name(self.given[0]), model_name(self.given[1])

    def open(self) -> CheckedPair:
        """Raises: InputError: see `CheckedPair.open`."""
        others = [folder for folder, _ in self.others]
        return CheckedPair.open(self.source, self.target, self.recipes, self.family, self.base, others=others)

    def planned(self) -> tuple[Plan, Checkpoint]:
        """What would be done to the target, and that, from shapes alone: no weights are needed.

        Raises:
            InputError: see `plan_by_shapes`.
        """
        return plan_by_shapes(self.source, self.target, self.family, self.recipes)

    def recorded(self, recipe: int) -> dict[str, Any]:
        """A recipe as records carry it, with the names of the checkpoints that it uses."""
        method = self.recipes[recipe].method
        names: dict[str, Any] = dict(zip(("source", "target"), self.names, strict=True))
        if method.needs_base:
            names["base"] = model_name(self.given[2])
        if method.needs_others:
            names["others"] = [model_name(given) for _, given in self.others]
        return names | self.recipes[recipe].describe()


@dataclass(frozen=True)
class Job:
    """One model to score."""

    key: str
    """SHA-256 over all that decides its outcomes; the job is done once its folder exists."""
    model: str
    """What its records call it."""
    folder: Path | None = None
    """Of a stored checkpoint, or the name that a server knows it by."""
    pair: Pair | None = None
    """Of a recovered checkpoint."""
    recipe: int | None = None
    """The index of its recipe in the pair."""
    seed: int | None = None
    """Of sampling; None is greedy."""
    made: str | None = None
    """How another tool made a stored checkpoint: its recipe for the records, as JSON."""


def jobs_of(config: ScoringConfig, *, is_dry: bool = False) -> list[Job]:
    """Every job: sources and targets first, then the recovered checkpoints, pair by pair.

    For a dry run, checkpoints may lack their weights.

    Raises:
        InputError: an unknown checkpoint, recipe or task, or ones that do not fit together.
    """
    for task in config.tasks:
        if task_version(task) is None:
            raise InputError(f"tasks: no task {task!r}; points24 tasks lists them")
    _content.cache_clear()  # a folder may hold something else by now
    if isinstance(config, SweepConfig):
        jobs = _sweep(config, is_dry)
    else:
        assert isinstance(config, EvalConfig)
        jobs = _evaluated(config, is_dry)
    different = {job.key: job for job in jobs}  # a checkpoint of two pairs is one job
    names: dict[tuple[str, int | None], str] = {}
    for job in different.values():
        if names.setdefault((job.model, job.seed), job.key) != job.key:
            raise InputError(f"two different checkpoints are called {job.model}")
    return list(different.values())


def shares_of(jobs: Sequence[Job], workers: int) -> list[list[Job]]:
    """The jobs in about as many shares as workers. Each share has one pair, whose factors it needs alone."""
    shares: dict[Pair | None, list[Job]] = {}
    for job in jobs:
        shares.setdefault(job.pair, []).append(job)
    found = []
    for share in shares.values():
        size = ceil(len(share) / ceil(workers / len(shares)))
        found += [share[i : i + size] for i in range(0, len(share), size)]
    return found


def _sweep(config: SweepConfig, is_dry: bool) -> Iterable[Job]:
    recipes = tuple(recipes_in(config.grid))
    try:
        for names in config.pairs:
            check_needs(recipes, names.get("base"), names.get("others", ()))
    except InputError as e:
        raise InputError(f"pairs: {e}") from e
    recovered = []
    stored: dict[Path, str] = {}
    tasks = asked(config.tasks, config.metadata)
    for names in config.pairs:
        found = [_located(config, names[part]) for part in ("source", "target", "base") if part in names]
        folders, given = zip(*found, strict=True)
        base = folders[2] if "base" in names else None
        others = tuple(_located(config, name) for name in names.get("others", ()))
        pair = Pair(
            folders[0], folders[1], base, recipes, config.layer_prefix, tuple(config.split), given, others
        )
        _ = pair.planned() if is_dry else pair.open()  # refuses now what would fail later
        stored |= dict(found[:2])
        of, into = (name.replace("/", "-") for name in pair.names)
        content = [_content(folder, is_dry) for folder in (*folders, *(folder for folder, _ in others))]
        for number, recipe in enumerate(recipes):
            for seed in config.seeds or [None]:
                model = f"{recipe.name}_of_{of}_in_{into}"
                what = {"model": model, "content": content, "recipe": recipe.describe()}
                if config.layer_prefix or config.split:
                    what["family"] = [config.layer_prefix, *config.split]
                key = _key(config, tasks, seed, what)
                recovered.append(Job(key, model, None, pair, number, seed))
    yield from _stored(config, stored, is_dry)
    yield from recovered


def _evaluated(config: EvalConfig, is_dry: bool) -> Iterable[Job]:
    folders = dict(_located(config, name) for name in config.models)
    for job in _stored(config, folders, is_dry):
        made = None
        try:
            if config.recipe:
                made = recipe_in(Path(config.recipe).expanduser())
            elif job.folder and config.engine not in SERVERS:
                made = mergekit_recipe(job.folder)
        except InputError as e:
            if config.recipe:
                raise
            print(f"points24: {e}; its records have no recipe", file=sys.stderr)
        if made is None:
            yield job
        else:
            text = json.dumps(made, sort_keys=True)
            key = hashlib.sha256(f"{job.key} {text}".encode()).hexdigest()
            yield replace(job, key=key, made=text)


def _stored(config: ScoringConfig, folders: Mapping[Path, str], is_dry: bool) -> Iterable[Job]:
    tasks = asked(config.tasks, config.metadata)
    for folder, given in folders.items():
        served = config.engine in SERVERS
        name = given if served else model_name(given)
        what = {"model": name, "content": None if served else _content(folder, is_dry)}
        for seed in config.seeds or [None]:
            yield Job(_key(config, tasks, seed, what), name, folder, seed=seed)


def _located(config: ScoringConfig, name: str) -> tuple[Path, str]:
    """A checkpoint's folder and its name: a path, a hub id, or the name that a server knows it by."""
    if config.engine in SERVERS:
        return Path(name), name
    folder = locate(name)
    return folder, str(folder) if Path(name).expanduser().is_dir() else name


def _key(config: ScoringConfig, tasks: Mapping[str, Any], seed: int | None, what: Mapping[str, Any]) -> str:
    settings = {name: getattr(config, name) for name in _DECIDING}
    content = json.dumps([what, seed, tasks, settings], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


@lru_cache(maxsize=256)
def _content(folder: Path, is_dry: bool) -> dict[str, str]:
    """Digests of the files that an engine reads; cached, since a checkpoint may be in many pairs.

    For a dry run, the folder itself stands for weights that are not there.
    """
    digest = weights_digest(folder) or (str(folder.resolve()) if is_dry else None)
    if digest is None:
        raise InputError(f"{folder}: no weights")
    beside = {name: sha256(folder / name) for name in ("config.json", *BESIDE) if (folder / name).exists()}
    return {"weights": digest} | beside
