"""What is asked of a base and its checkpoints, and the record that answers it."""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from points24.harness.checkpoints.digest import weights_digest
from points24.harness.files import json_lines
from points24.harness.records.ingest import model_name
from points24.harness.records.shift import SCHEMA, Estimate, Layer, ShiftRecord
from points24.harness.shift.beliefs import beliefs, material
from points24.harness.shift.models import check_context, check_same_tokens, load_model, load_tokenizer
from points24.harness.shift.references import Asked, asked, prompt_text
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


class Answer(NamedTuple):
    """What was measured on one task."""

    measures: dict[str, Estimate]
    layers: tuple[Layer, ...] = ()
    samples: dict[str, int] | None = None
    """How the base's own samples were drawn, if they were."""


class Inquiry:
    """The tasks' texts in the tokens of one base.

    Raises:
        InputError: an unknown task, a bad template or rule, or a base without (fitting) tokenizer.
    """

    def __init__(self, base: Path, config: ShiftConfig):
        self.base, self.config = base, config
        self.memorised = parse_rule(config.memorised)
        self.wording = template(config.template)
        what = [self._asked(task) for task in config.tasks]
        self.tokenizer = load_tokenizer(base, chat=config.apply_chat_template)
        self.texts = [material(each, self.tokenizer, _note) for each in what]
        self.base_digest = weights_digest(base)

    def _asked(self, task: str) -> Asked:
        config = self.config
        return asked(
            task,
            wording=self.wording,
            chat=config.apply_chat_template,
            limit=config.limit,
            memorised=self.memorised,
        )

    def load(self, folder: Path) -> Any:
        """A checkpoint's model.

        Raises:
            InputError: it cannot be loaded, reads other tokens than the base, or cannot hold the texts.
        """
        chat = self.config.apply_chat_template
        if folder != self.base:
            tokenizer = load_tokenizer(folder, chat=chat)
            firsts = [prompt_text(texts.deals[0], texts.what, self.tokenizer) for texts in self.texts]
            check_same_tokens(tokenizer, self.tokenizer, firsts)
            if [prompt_text(texts.deals[0], texts.what, tokenizer) for texts in self.texts] != firsts:
                raise InputError("its chat template makes other prompts than the base's")
        model = load_model(folder, self.config.dtype, self.config.device, self.config.device_map)
        for texts in self.texts:
            check_context(model, texts.sequences)
        return model

    def alone(self, folder: Path) -> list[ShiftRecord]:
        """The records of a checkpoint by what needs no base beside it: no divergence and no hidden states.

        Raises:
            InputError: see `load` and `beliefs`.
        """
        model = self.load(folder)
        found = [beliefs(model, texts, batch_size=self.config.batch_size) for texts in self.texts]
        return [
            self.record(folder, str(model.dtype), place, Answer(each.estimates()))
            for place, each in enumerate(found)
        ]

    def record(self, folder: Path, dtype: str, place: int, answer: Answer) -> ShiftRecord:
        """What a checkpoint's model, with weights of a dtype, made of the task at that place."""
        texts, what = self.texts[place], self.texts[place].what
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
            chat_template_digest=self.chat_digest,
            dtype=dtype.removeprefix("torch."),
            n=len(texts.deals),
            n_rival=len(texts.with_rival),
            samples=answer.samples,
            training_loss=step and _training_loss(folder.parent / TRAINING_LOG, int(step[1])),
            measures=answer.measures,
            layers=answer.layers,
            weights={},
        )

    @property
    def chat_digest(self) -> str | None:
        if not self.config.apply_chat_template:
            return None
        return hashlib.sha256(str(self.tokenizer.chat_template).encode()).hexdigest()

    def key(self, *of_checkpoint: str | None) -> str:
        """A digest over all that a result depends on; the batch size changes rounding alone."""
        config = replace(self.config, batch_size=1, device="auto", device_map=None, template=None)
        hands = [(texts.what.hands.digest, texts.what.rival.name) for texts in self.texts]
        versions = [task_version(task) for task in config.tasks]
        parts = (SCHEMA, repr(config), hands, versions, self.wording.digest, self.chat_digest)
        return hashlib.sha256(repr((parts, self.base_digest, of_checkpoint)).encode()).hexdigest()


def _note(line: str) -> None:
    print(f"points24: {line}", file=sys.stderr)


def _training_loss(log: Path, step: int) -> float | None:
    """The last training loss that was logged up to a step; None where there is none."""
    if not log.is_file():
        return None
    rows = [row for _, row in json_lines(log, dict) if row.get("step", 0) <= step and "loss" in row]
    return rows[-1]["loss"] if rows else None
