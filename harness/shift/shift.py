"""From a base and checkpoints to shift records: one checkpoint after another, each kept once it is done."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from points24.harness.checkpoints.digest import weights_digest
from points24.harness.files import json_lines, write_json
from points24.harness.records.ingest import model_name
from points24.harness.records.provenance import command_line, versions
from points24.harness.records.shift import SCHEMA, Layer, ShiftRecord, shift_record_of
from points24.harness.shift.beliefs import Beliefs, Material, beliefs, material
from points24.harness.shift.geometry import Plane, covariance, linear_cka, plane
from points24.harness.shift.models import check_context, check_same_tokens, load_model, load_tokenizer
from points24.harness.shift.passes import Base
from points24.harness.shift.references import asked, prompt_text
from points24.harness.shift.samples import SEED, Sampling, samples
from points24.tasks.cards import parse_rule
from points24.tasks.errors import InputError
from points24.tasks.lm_eval.files import task_version
from points24.tasks.prompts import template

TRAINING_LOG = "log.jsonl"
"""Beside the checkpoints of a run of points24 train."""
_STEP = re.compile(r"checkpoint-(\d+)$")


@dataclass(frozen=True, kw_only=True)
class ShiftConfig:
    """What is asked, and how models are run."""

    tasks: tuple[str, ...] = ("points24_id", "points24_ood")
    memorised: str = "id"
    """The rule that other tasks are weighed against: the one of the training."""
    template: str | None = None
    apply_chat_template: bool = False
    limit: int | None = None
    """Only the first deals of each task."""
    dtype: str = "auto"
    batch_size: int = 64
    device: str = "auto"
    device_map: str | None = None
    sample_tokens: int = 128
    """Where the base's own samples are cut off."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "limit", "sample_tokens"):
            if (found := getattr(self, name)) is not None and found < 1:
                raise InputError(f"{name}: expected at least 1, found {found}")
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise InputError(f"tasks: expected different ones, found {', '.join(self.tasks) or 'none'}")


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
    shift.jsonl, shift.md    the records and the tables of the last command: see `report`
    """

    def __init__(self, base: Path, config: ShiftConfig, out: Path):
        """Read what the tasks ask.

        Raises:
            InputError: an unknown task, a bad template or rule, or a base without (fitting) tokenizer.
        """
        self.base, self.config, self.out = base, config, out
        self.tokenizer = load_tokenizer(base, chat=config.apply_chat_template)
        self.memorised = parse_rule(config.memorised)
        self.wording = template(config.template)
        self.texts = [
            material(
                asked(
                    task,
                    wording=self.wording,
                    chat=config.apply_chat_template,
                    limit=config.limit,
                    memorised=self.memorised,
                ),
                self.tokenizer,
                _note,
            )
            for task in config.tasks
        ]
        self.base_digest = weights_digest(base)
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
                for folder, name in {folder: name for name, folder in every}.items():
                    if folder in todo and (why := self._measure(folder, files[folder], bar)):
                        failed[name] = why
                        bar.write(f"points24: {name} failed: {why}", sys.stderr)
        done = [file for folder, file in files.items() if file.exists()]
        records = [record for file in done for record in _read(file)]
        return Outcome(records, failed)

    def _open_base(self) -> None:
        """Load the base and draw its samples, or read them."""
        name = str(self.base)
        try:
            model = load_model(self.base, self.config.dtype, self.config.device, self.config.device_map)
            for texts in self.texts:
                check_context(model, texts.right + texts.rival)
        except InputError as e:
            raise InputError(f"{name}: {e}") from e
        self._base = Base(model)
        drawn = self._samples(model)
        self.texts = [
            texts.with_samples(replies) for texts, replies in zip(self.texts, drawn.values(), strict=True)
        ]

    def _samples(self, model: Any) -> dict[str, list[list[int]]]:
        file = self.out / "samples" / f"{self._key(None)[:16]}.json"
        if file.exists():
            return json.loads(file.read_text("utf-8"))
        found = {}
        total = sum(len(texts.deals) for texts in self.texts)
        holds = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        with tqdm(total=total, desc="samples of the base", unit="reply", disable=None) as bar:
            for texts in self.texts:
                room = self.config.sample_tokens
                if holds is not None:
                    room = min(room, holds - max(map(len, texts.prompts)))
                how = Sampling(self.tokenizer.eos_token_id, room, self.config.batch_size)
                found[texts.what.task] = samples(model, texts.prompts, how, bar.update)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, found, indent=0)
        return found

    def _measure(self, folder: Path, file: Path, bar: Any) -> str | None:
        """Measure one checkpoint and keep it; why it failed, if it did."""
        bar.set_description(model_name(str(folder)))
        try:
            model = self._model(folder)
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
        records = [self._record(folder, model, texts, found, layers) for texts in self.texts]
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

    def _model(self, folder: Path) -> Any:
        if folder == self.base and self._base is not None:
            return self._base.model
        chat = self.config.apply_chat_template
        tokenizer = load_tokenizer(folder, chat=chat)
        firsts = [prompt_text(texts.deals[0], texts.what, self.tokenizer) for texts in self.texts]
        check_same_tokens(tokenizer, self.tokenizer, firsts)
        if chat and [prompt_text(texts.deals[0], texts.what, tokenizer) for texts in self.texts] != firsts:
            raise InputError("its chat template makes other prompts than the base's")
        model = load_model(folder, self.config.dtype, self.config.device, self.config.device_map)
        for texts in self.texts:
            check_context(model, texts.sequences)
        return model

    def _layers(self, found: dict[str, Beliefs]) -> dict[str, list[Layer]]:
        """Task -> its hidden states, layer by layer."""
        if self._planes is None:
            self._planes = self._base_planes(found)
        return {
            texts.what.task: [
                _layer(number, ours, theirs, where, is_ood=texts.what.hands.rule != self.memorised)
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
            sides.setdefault(texts.what.hands.rule == self.memorised, found[texts.what.task].base_states)
        if len(sides) < 2:
            return [None] * len(next(iter(sides.values())))
        return [plane(of_id, of_ood) for of_id, of_ood in zip(sides[True], sides[False], strict=True)]

    def _record(
        self,
        folder: Path,
        model: Any,
        texts: Material,
        found: dict[str, Beliefs],
        layers: dict[str, list[Layer]],
    ) -> ShiftRecord:
        what, config = texts.what, self.config
        step = _STEP.search(folder.name)
        return ShiftRecord(
            model=model_name(str(folder)),
            step=0 if folder == self.base else step and int(step[1]),
            weights_sha256=self.base_digest if folder == self.base else weights_digest(folder),
            base=model_name(str(self.base)),
            base_sha256=self.base_digest,
            task=what.task,
            task_version=task_version(what.task),
            rule=what.hands.rule.name,
            rival=what.rival.name,
            hand_set_digest=what.hands.digest,
            template_digest=self.wording.digest,
            chat_template_digest=self._chat_digest(),
            dtype=str(model.dtype).removeprefix("torch."),
            n=len(texts.deals),
            n_rival=len(texts.with_rival),
            samples={"seed": SEED, "max_new_tokens": config.sample_tokens},
            measures=found[what.task].estimates(),
            layers=tuple(layers[what.task]),
            training_loss=step and _training_loss(folder.parent / TRAINING_LOG, int(step[1])),
            weights={},
        )

    def _chat_digest(self) -> str | None:
        if not self.config.apply_chat_template:
            return None
        return hashlib.sha256(str(self.tokenizer.chat_template).encode()).hexdigest()

    def _file(self, folder: Path) -> Path:
        key = self._key(weights_digest(folder), model_name(str(folder)))
        return self.out / "checkpoints" / f"{key[:16]}.json"

    def _key(self, *of_checkpoint: str | None) -> str:
        """A digest over all that a result depends on; the batch size changes rounding alone."""
        config = replace(self.config, batch_size=1, device="auto", device_map=None, template=None)
        hands = [(texts.what.hands.digest, texts.what.rival.name) for texts in self.texts]
        versions_ = [task_version(task) for task in config.tasks]
        parts = (SCHEMA, repr(config), hands, versions_, self.wording.digest, self._chat_digest())
        return hashlib.sha256(repr((parts, self.base_digest, of_checkpoint)).encode()).hexdigest()


def _layer(number: int, ours: Any, theirs: Any, where: Plane | None, *, is_ood: bool) -> Layer:
    cka = linear_cka(ours, theirs)
    if where is None:
        return Layer(layer=number, cka=cka, shift=None, centroid=None, spread=None)
    points = where.of(ours)
    x, y = points.mean(0).tolist()
    moved = x - (1.0 if is_ood else 0.0)
    return Layer(layer=number, cka=cka, shift=moved, centroid=(x, y), spread=covariance(points))


def _read(file: Path) -> list[ShiftRecord]:
    return [shift_record_of(row) for row in json.loads(file.read_text("utf-8"))["records"]]


def _note(line: str) -> None:
    print(f"points24: {line}", file=sys.stderr)


def _training_loss(log: Path, step: int) -> float | None:
    """The last training loss that was logged up to a step; None where there is none."""
    if not log.is_file():
        return None
    rows = [row for _, row in json_lines(log, dict) if row.get("step", 0) <= step and "loss" in row]
    return rows[-1]["loss"] if rows else None
