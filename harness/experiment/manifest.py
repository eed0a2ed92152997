"""The manifest of a reproduction: which checkpoint played which part, and what its records do not say.

A reproduction is a folder that `write_reproduction` makes: ``manifest.json``, one JSON object with the fields
of `Manifest`, the records of each seed, ``seed-N.jsonl``, and its shift records, ``shift/seed-N.jsonl``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, field
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from points24.harness.experiment.config import RL
from points24.harness.experiment.stages import DRIFT_FROM, Experiment
from points24.harness.files import write_json, write_text
from points24.harness.records.ingest import model_name
from points24.harness.records.record import Text, one_of
from points24.harness.records.shift import ShiftRecord, read_shift_records
from points24.harness.records.store import read_records
from points24.tasks.errors import InputError
from points24.tasks.validation import STRICT_CONFIG, errors_in_one_line

SCHEMA = 2
"""Goes up whenever a field is added, removed or changes its meaning."""
MANIFEST = "manifest.json"
SHIFTS = "shift"
"""The subfolder of the shift records."""
STARTS = ("early", "middle", "late")
"""The SFT checkpoints that PPO and GRPO start from."""
TENTHS = 10
_Start = Annotated[str, one_of(*STARTS)]


def _tenths(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) != TENTHS:
        raise ValueError(f"expected {TENTHS} numbers, not {len(values)}")
    return values


_Tenths = Annotated[tuple[float, ...], AfterValidator(_tenths)]


@dataclass(frozen=True, config=STRICT_CONFIG)
class Rl:
    """One run of PPO or GRPO: its first and its final checkpoint, as in `Record.model`."""

    start: Text
    final: Text


@dataclass(frozen=True, config=STRICT_CONFIG)
class Seed:
    """The runs of one seed; checkpoints are named as in `Record.model`."""

    seed: int
    sft: Text
    """The SFT run; its checkpoints are ``<sft>/checkpoint-N``."""
    best_ood: Text
    """Its checkpoint with the highest OOD accuracy: the source of the recovered checkpoints."""
    final: Text
    """Its last checkpoint: the target of the recovered checkpoints."""
    ppo: dict[_Start, Rl]
    """Name of the start -> PPO run; the same names for every seed."""
    grpo: dict[_Start, Rl] = field(default_factory=dict)
    """Likewise for GRPO."""

    def runs(self, trainer: str) -> dict[str, Rl]:
        """Those of ``ppo`` or ``grpo``."""
        return getattr(self, trainer)


@dataclass(frozen=True, config=STRICT_CONFIG)
class Floor:
    """The drift that rounding to bf16 alone would show."""

    values: float
    alignment: _Tenths
    change: float | None = None


@dataclass(frozen=True, config=STRICT_CONFIG)
class Drift:
    """How far a checkpoint's matrices are from those of an earlier one: means over the matrices."""

    seed: int
    first: Text
    checkpoint: Text
    values: float
    """Relative change of the singular values."""
    change: float
    """Relative change of the matrices."""
    alignment: _Tenths
    """|cosine| of right singular vectors of equal rank: mean per tenth of the ranks, largest values first."""
    floor: Floor

    @property
    def misalignment(self) -> tuple[float, ...]:
        """1 − alignment per tenth, less that of the floor."""
        return tuple(below - here for here, below in zip(self.alignment, self.floor.alignment, strict=True))


@dataclass(frozen=True, config=STRICT_CONFIG, kw_only=True)
class Manifest:
    """What was run."""

    schema: int = SCHEMA
    config: Text
    """Name of the YAML file."""
    settings: dict[str, Any]
    """Section -> settings of the experiment."""
    base: Text
    """`Record.model` of the base: step 0 of every SFT run."""
    seeds: tuple[Seed, ...]
    drift: tuple[Drift, ...]
    seconds: dict[str, Annotated[float, Field(ge=0)]]
    """Stage -> how long it took."""
    machine: Text

    def __post_init__(self) -> None:
        numbers = [each.seed for each in self.seeds]
        if not numbers or len(set(numbers)) < len(numbers):
            raise InputError(f"seeds: expected at least one, each once, found {numbers}")
        for trainer in RL:
            starts = [[*each.runs(trainer)] for each in self.seeds]
            if any(sorted(found) != sorted(starts[0]) for found in starts):
                raise InputError(f"seeds: expected the same {trainer} for every seed, found {starts}")
        for i, each in enumerate(self.drift):
            if each.seed not in numbers:
                raise InputError(f"drift[{i}].seed: expected one of {numbers}, found {each.seed}")


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file.

    Raises:
        InputError: the file cannot be read, or holds no manifest of this schema; with its path.
    """
    try:
        return manifest_of(json.loads(path.read_text("utf-8")))
    except OSError as e:
        raise InputError(f"{path}: {e.strerror or e}") from e
    except ValueError as e:  # InputError as well; bad JSON; bytes that are not UTF-8
        raise InputError(f"{path}: {str(e).splitlines()[0]}") from e


def manifest_of(value: object) -> Manifest:
    """A manifest from decoded JSON.

    Raises:
        InputError: what is wrong, found and expected.
    """
    if isinstance(value, dict) and (schema := value.get("schema")) != SCHEMA:
        raise InputError(f"schema: expected {SCHEMA}, found {schema}; points24 reproduce writes it again")
    with errors_in_one_line(Manifest, "manifest"):
        return TypeAdapter(Manifest).validate_json(json.dumps(value))


def write_reproduction(experiment: Experiment, folder: Path) -> None:
    """Write the manifest and the records of an experiment whose stages are done, in place of older ones."""
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    written = {folder / f"seed-{seed}.jsonl": seed for seed in experiment.config.seeds}
    for path, seed in written.items():
        folders = sorted(experiment.out.glob(f"*-{seed}/records"))
        found = {record.key: record for each in folders for record in read_records(each)}
        # Seeds may share records of the base, which belong in one file.
        write_text(path, "".join(f"{record.line()}\n" for key, record in found.items() if key not in seen))
        seen |= found.keys()
    for path in set(folder.glob("seed-*.jsonl")) - written.keys():
        path.unlink()
    _write_shifts(experiment, folder / SHIFTS)
    write_json(folder / MANIFEST, asdict(experiment_manifest(experiment)), indent=1)


def _write_shifts(experiment: Experiment, folder: Path) -> None:
    """Write the shift records of every seed, in place of older ones; those of the base are shared."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    seen: set[str] = set()
    for seed in experiment.config.seeds:
        made = experiment.shift_folder(seed) / "shift.jsonl"
        lines = [record.line() for record in read_shift_records(made)] if made.exists() else []
        write_text(folder / f"seed-{seed}.jsonl", "".join(f"{line}\n" for line in lines if line not in seen))
        seen |= {*lines}


def read_shifts(folder: Path) -> list[ShiftRecord]:
    """The shift records of a reproduction, seed by seed; none where there are none."""
    files = sorted((folder / SHIFTS).glob("seed-*.jsonl"))
    return [record for file in files for record in read_shift_records(file)]


def experiment_manifest(experiment: Experiment) -> Manifest:
    """The manifest of an experiment whose stages are done."""
    config = experiment.config
    stages = sorted(stage.name for seed in config.seeds for stage in experiment.stages(seed))
    done = {name: json.loads(experiment.done(name).read_text("utf-8")) for name in stages}
    reproduce = asdict(config) | {"output_dir": experiment.out.name}
    return Manifest(
        config=Path(experiment.file).name,
        settings=experiment.settings | {"reproduce": reproduce},
        base=model_name(experiment.base),
        seeds=tuple(_seed(experiment, seed) for seed in config.seeds),
        drift=tuple(
            each
            for seed in config.seeds
            for first in (DRIFT_FROM if "drift" in config.kinds else ())
            for each in _drifts(experiment, first, seed)
        ),
        seconds={name: round(stage["seconds"], 1) for name, stage in done.items()},
        machine=f"{os.cpu_count()} CPU cores",
    )


def _seed(experiment: Experiment, seed: int) -> Seed:
    run = f"sft-{seed}"
    return Seed(
        seed=seed,
        sft=run,
        best_ood=model_name(str(experiment.marked(run, "best-ood"))),
        final=model_name(str(experiment.marked(run, "final"))),
        **{trainer: _runs(experiment, trainer, seed) for trainer in RL},
    )


def _runs(experiment: Experiment, trainer: str, seed: int) -> dict[str, Rl]:
    finals = experiment.finals(trainer, seed)
    return {
        name: Rl(start=f"sft-{seed}/checkpoint-{step}", final=model_name(str(finals[name])))
        for name, step in experiment.starts(trainer).items()
    }


def _drifts(experiment: Experiment, first: str, seed: int) -> Iterator[Drift]:
    """From one checkpoint to each of the others, as ``drift.json`` says, matrix by matrix."""
    found = json.loads((experiment.out / f"drift-{first}-{seed}" / "drift.json").read_text("utf-8"))
    start, *others = (model_name(str(folder)) for folder in experiment.drift_folders(first, seed))
    for step, checkpoint in enumerate(others):
        rows = [row for row in found["matrices"] if row["step"] == step]
        floor = Floor(**_means([row["floor"] for row in rows]))
        yield Drift(seed=seed, first=start, checkpoint=checkpoint, **_means(rows), floor=floor)


def _means(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the matrices; a matrix that lacks a number does not count for it."""
    known = {key: [row[key] for row in rows if row[key] is not None] for key in ("values", "change")}
    tenths = zip(*(row["alignment"] for row in rows), strict=True)
    return {key: fmean(found) for key, found in known.items()} | {"alignment": tuple(map(fmean, tenths))}
