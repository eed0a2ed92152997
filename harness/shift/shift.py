"""From a base and checkpoints to shift records: one checkpoint after another, each kept once it is done."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from points24.harness.checkpoints.digest import weights_digest
from points24.harness.files import write_json
from points24.harness.records.ingest import model_name
from points24.harness.records.provenance import command_line, versions
from points24.harness.records.shift import Layer, ShiftRecord, shift_record_of
from points24.harness.shift.beliefs import Beliefs, beliefs
from points24.harness.shift.geometry import Plane, covariance, linear_cka, plane
from points24.harness.shift.inquiry import Answer, Inquiry
from points24.harness.shift.passes import Base
from points24.harness.shift.samples import SEED, Sampling, samples
from points24.tasks.errors import InputError

TRAINING_LOG = "log.jsonl"
"""Beside the checkpoints of a run of points24 train."""
_STEP = re.compile(r"checkpoint-(\d+)$")


@dataclass(frozen=True)
class Outcome:
    records: list[ShiftRecord]
    """Of the base and of every checkpoint that is done, in the order given."""
    failed: dict[str, str]
    """Checkpoint as given -> why it failed."""


class Shift:
    """The measurement of checkpoints against one base, in one folder.

    checkpoints/<key>.json   a checkpoint that is done: its records, and a value per deal of every quantity
    samples/<key>.json       the base's own samples
    shift.jsonl, shift.md    the records and the tables of the last command, and records/ the scores of the
                             runs that the checkpoints belong to: see `report`
    """

    def __init__(self, inquiry: Inquiry, out: Path):
        self.inquiry, self.out = inquiry, out
        self.base, self.config, self.texts = inquiry.base, inquiry.config, inquiry.texts
        self._base: Base | None = None
        self._planes: list[Plane | None] | None = None

    def run(self, checkpoints: Sequence[tuple[str, Path]]) -> Outcome:
        """Measure the base and the checkpoints, as (name given, folder), that are not done.

        Raises:
            InputError: the base cannot be measured.
        """
        every = [(str(self.base), self.base), *checkpoints]
        files = {folder: self._file(folder) for _, folder in every}
        todo = [folder for folder in files if not files[folder].exists()]
        failed: dict[str, str] = {}
        if todo:
            self._open_base()
            total = len(todo) * sum(len(texts.sequences) for texts in self.texts)
            with tqdm(total=total, unit="reply", disable=None) as bar:
                names = {folder: name for name, folder in every}
                for number, folder in enumerate(todo, start=1):
                    name = names[folder]
                    _say(f"{name}, {number} of {len(todo)}")
                    if why := self._measure(folder, files[folder], bar):
                        failed[name] = why
                        bar.write(f"points24: {name} failed: {why}", sys.stderr)
        done = [file for folder, file in files.items() if file.exists()]
        records = [record for file in done for record in _read(file)]
        return Outcome(records, failed)

    def _open_base(self) -> None:
        """Load the base and draw its samples, or read them."""
        name = str(self.base)
        try:
            model = self.inquiry.load(self.base)
        except InputError as e:
            raise InputError(f"{name}: {e}") from e
        self._base = Base(model)
        drawn = self._samples(model)
        self.texts = [
            texts.with_samples(replies) for texts, replies in zip(self.texts, drawn.values(), strict=True)
        ]

    def _samples(self, model: Any) -> dict[str, list[list[int]]]:
        file = self.out / "samples" / f"{self.inquiry.key(None)[:16]}.json"
        if file.exists():
            return json.loads(file.read_text("utf-8"))
        _say("samples of the base")
        found = {}
        total = sum(len(texts.deals) for texts in self.texts)
        holds = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        with tqdm(total=total, desc="samples of the base", unit="reply", disable=None) as bar:
            for texts in self.texts:
                room = self.config.sample_tokens
                if holds is not None:
                    room = min(room, holds - max(map(len, texts.prompts)))
                how = Sampling(self.inquiry.tokenizer.eos_token_id, room, self.config.batch_size)
                found[texts.what.task] = samples(model, texts.prompts, how, bar.update)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, found, indent=0)
        return found

    def _measure(self, folder: Path, file: Path, bar: Any) -> str | None:
        """Measure one checkpoint and keep it; why it failed, if it did."""
        bar.set_description(model_name(str(folder)))
        try:
            known = self._base.model if self._base and folder == self.base else None
            model = known or self.inquiry.load(folder)
            found = {
                texts.what.task: beliefs(
                    model,
                    texts,
                    batch_size=self.config.batch_size,
                    base=self._base,
                    tick=bar.update,
                )
                for texts in self.texts
            }
        except InputError as e:
            if folder == self.base:
                raise InputError(f"{folder}: {e}") from e
            return str(e)
        layers = self._layers(found)
        how = {"seed": SEED, "max_new_tokens": self.config.sample_tokens}
        records = []
        for place, (task, each) in enumerate(found.items()):
            answer = Answer(each.estimates(), tuple(layers[task]), how)
            records.append(self.inquiry.record(folder, str(model.dtype), place, answer))
        kept = {
            "command": command_line(),
            "versions": versions(),
            "records": [json.loads(record.line()) for record in records],
            "deals": {
                task: {
                    name: [float(f"{value:.6g}") for value in values.tolist()]
                    for name, values in each.values.items()
                }
                for task, each in found.items()
            },
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, kept, indent=0)
        return None

    def _layers(self, found: dict[str, Beliefs]) -> dict[str, list[Layer]]:
        """Task -> its hidden states, layer by layer."""
        if self._planes is None:
            self._planes = self._base_planes(found)
        return {
            texts.what.task: [
                _layer(number, ours, theirs, where, is_ood=texts.what.hands.rule != self.inquiry.memorised)
                for number, (ours, theirs, where) in enumerate(
                    zip(
                        found[texts.what.task].states,
                        found[texts.what.task].base_states,
                        self._planes,
                        strict=True,
                    ),
                    start=1,
                )
            ]
            for texts in self.texts
        }

    def _base_planes(self, found: dict[str, Beliefs]) -> list[Plane | None]:
        sides: dict[bool, tuple[Any, ...]] = {}
        for texts in self.texts:
            sides.setdefault(
                texts.what.hands.rule == self.inquiry.memorised, found[texts.what.task].base_states
            )
        if len(sides) < 2:
            return [None] * len(next(iter(sides.values())))
        return [plane(of_id, of_ood) for of_id, of_ood in zip(sides[True], sides[False], strict=True)]

    def _file(self, folder: Path) -> Path:
        key = self.inquiry.key(weights_digest(folder), model_name(str(folder)))
        return self.out / "checkpoints" / f"{key[:16]}.json"


def _layer(number: int, ours: Any, theirs: Any, where: Plane | None, *, is_ood: bool) -> Layer:
    cka = linear_cka(ours, theirs)
    if where is None:
        return Layer(layer=number, cka=cka, shift=None, centroid=None, spread=None)
    points = where.of(ours)
    x, y = points.mean(0).tolist()
    moved = x - (1.0 if is_ood else 0.0)
    return Layer(layer=number, cka=cka, shift=moved, centroid=(x, y), spread=covariance(points))


def _say(text: str) -> None:
    """Where there is no terminal, for which a bar says it."""
    if not sys.stderr.isatty():
        print(f"points24: shift: {text}", file=sys.stderr)


def _read(file: Path) -> list[ShiftRecord]:
    return [shift_record_of(row) for row in json.loads(file.read_text("utf-8"))["records"]]
