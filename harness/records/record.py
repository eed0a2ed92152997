"""The result record, one line of JSON: what one checkpoint did on one task under one filter.

`record_of` validates: counts add up, there are n outcomes, and digests match the installed hand sets.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from points24.harness.records.checksum import line_of, verified
from points24.tasks.cards import TARGET, parse_any_rule
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import hand_set
from points24.tasks.lm_eval.files import task_version
from points24.tasks.protocols.protocol import DEFAULT
from points24.tasks.validation import STRICT_CONFIG, errors_in_one_line
from points24.tasks.verdict import EXTRACTIONS, Verdict

SCHEMA = 3
"""Goes up whenever a field is added, removed or changes its meaning.

1: without the protocol, which is `points24`, and without first and float outcomes.
2: without several samples per deal.
"""


def _passing(test: Callable[[Any], object], expected: str) -> AfterValidator:
    def check(value: Any) -> Any:
        if not test(value):
            raise ValueError(f"expected {expected}")
        return value

    return AfterValidator(check)


def one_of(*allowed: Any) -> AfterValidator:
    return _passing(allowed.__contains__, " or ".join(map(str, allowed)))


def _matching(pattern: str, expected: str) -> AfterValidator:
    return _passing(re.compile(pattern).fullmatch, expected)


Text = Annotated[str, _matching(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]+", "text in one line")]
Digest = Annotated[str, _matching(r"[0-9a-f]{64}", "64 hexadecimal digits")]
Bits = Annotated[str, _matching(r"[01]+", "0 and 1 alone")]
Date = Annotated[
    str, _matching(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "UTC such as 2026-01-31T12:00:00Z")
]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
VerdictName = Annotated[str, one_of(*(verdict.value for verdict in Verdict))]


@dataclass(frozen=True, kw_only=True, config=STRICT_CONFIG)
class Record:
    """One line of a records file. A field is None where a reported figure comes without it."""

    schema: Annotated[int, one_of(*range(1, SCHEMA + 1))]
    """Version of this schema when the record was made."""
    status: Annotated[str, one_of("measured", "reported")]
    """``measured``: ingested from lm-eval's output. ``reported``: a published figure."""

    model: Text
    """Name of the checkpoint: a hub id, or a folder's name without its path."""
    parent: Text | None = None
    """`model` or `label` of the checkpoint that this one was trained or recovered from."""
    stage: Text | None = None
    """What made it: base, SFT, RL, recovered, …"""
    checkpoint: Text | None = None
    """The author's name for a point in training whose step is unknown."""
    step: int | None = None
    """Optimiser steps within the stage."""
    weights_sha256: Digest | None = None
    """See `points24.harness.checkpoints.digest`. None where the weights were not available."""
    recipe: dict[str, Any] | None = None
    """The training configuration or the recovery recipe that the checkpoint's folder carries."""

    task: Text | None = None
    """The lm-eval task."""
    task_version: Text | None = None
    """Its ``metadata.version``."""
    hand_set: Text
    """Name of the hand set (see `points24.tasks.hand_sets`)."""
    rule: Annotated[Text, _passing(parse_any_rule, "a rule")]
    """``id``, ``ood``, a mapping such as ``J=5,Q=7,K=9``, or ``numbers``."""
    target: int | None = TARGET
    """The number to reach; None where each deal has its own."""
    hand_set_digest: Digest | None = None
    """SHA-256 over the hand set."""
    protocol: Text = DEFAULT
    """Name of the protocol (see `points24.tasks.protocols`)."""
    protocol_digest: Digest | None = None
    """SHA-256 over the protocol: wording, filters, verifier, limits, rewards."""
    template_digest: Digest | None = None
    """SHA-256 over the prompt template."""
    chat_template_digest: Digest | None = None
    """SHA-256 over the model's chat template; None where the prompt was plain text."""
    num_fewshot: int = 0
    """Worked examples before the prompt."""
    attempts: AtLeastOne
    """Attempts per deal; from the second on with the verifier's feedback."""
    decoding: dict[str, Any] | None = None
    """lm-eval's ``generation_kwargs``."""
    engine: Text | None = None
    """lm-eval's ``--model``: hf, vllm, local-completions, …"""
    dtype: Text | None = None
    """Of the weights in the engine, such as ``float32``."""

    filter: Annotated[str, one_of(*EXTRACTIONS)] | None = None
    """``strict-match``, ``flexible-extract`` or ``paper-match``."""
    k: Count
    """Deals answered correctly."""
    n: AtLeastOne
    """Deals played: the first n of the hand set."""
    verdicts: dict[VerdictName, Count] | None = None
    """Deals per verdict of the deciding reply: the first correct one, else the last. They add up to n, and
    ``correct`` is k."""
    truncated: Count | None = None
    """How many deciding replies were cut off (see `points24.tasks.replies.is_truncated`)."""
    outcomes: Bits | None = None
    """One character per deal in hand-set order: 1 correct, 0 not."""
    first_outcomes: Bits | None = None
    """The same for the first reply to each deal, where there can be several."""
    float_outcomes: Bits | None = None
    """The same as `outcomes` if values are compared as floats, where the protocol has that checker."""
    float_first_outcomes: Bits | None = None
    """The same for the first reply, compared as floats."""

    samples: list[list[int]] | None = None
    """For each deal its independent samples, where there are several (see `points24.tasks.sampling`). Counts,
    verdicts and `outcomes` are those of the first."""

    versions: dict[str, str] | None = None
    """Python and packages."""
    date: Date | None = None
    """Start of the run in UTC, ISO 8601 with a final Z."""
    command: Text | None = None
    """The lm-eval command, rebuilt from its results; a model folder appears as its name."""
    source: Text | None = None
    """Where a reported figure was published."""

    @model_validator(mode="after")
    def _consistent(self) -> Record:
        _check_status(self)
        _check_counts(self)
        _check_samples(self)
        _check_hand_set(self)
        return self

    @property
    def label(self) -> str:
        """The checkpoint in words: model, stage, and checkpoint or step."""
        step = None if self.step is None else f"step {self.step}"
        return " ".join(part for part in (self.model, self.stage, self.checkpoint, step) if part)

    @cached_property
    def key(self) -> str:
        """SHA-256 that identifies the run, so that a run ingested twice has one key.

        It covers the outcome but no facts about the checkpoint: naming a parent or deleting the weights later
        leaves it the same run.
        """
        names = _IDENTITY if self.status == "measured" else (*_IDENTITY, *_REPORTED_IDENTITY)
        if self.protocol != DEFAULT:  # without it a record has the key that it had before there were others
            names = (*names, "protocol", "protocol_digest")
        if self.samples:
            names = (*names, "samples")
        content = json.dumps([getattr(self, name) for name in names], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def repeats(self) -> int:
        """Samples per deal."""
        return len(self.samples[0]) if self.samples else 1

    @property
    def correct(self) -> list[int] | None:
        """For each deal how many of its samples are correct, 0 to `repeats`; None without outcomes."""
        if self.samples:
            return [sum(sample > 0 for sample in each) for each in self.samples]
        return None if self.outcomes is None else [int(bit) for bit in self.outcomes]

    @property
    def wins(self) -> int:
        """Correct replies: `k`, or over all samples where there are several."""
        return sum(self.correct or ()) if self.samples else self.k

    @property
    def accuracy(self) -> float:
        """Share of correct replies, 0 to 1: of all samples, where there are several (pass@1)."""
        return self.wins / (self.n * self.repeats)

    def verdict_share(self, verdict: Verdict) -> float | None:
        """Share of deals with this verdict, 0 to 1; None where the record has no counts."""
        return None if self.verdicts is None else self.verdicts.get(verdict.value, 0) / self.n

    def line(self) -> str:
        """The record as one line of JSON with a checksum, without the line break."""
        return line_of(asdict(self))


_IDENTITY = (
    *("status", "model", "date", "engine", "decoding"),
    *("task", "task_version", "hand_set", "rule", "target", "hand_set_digest", "template_digest"),
    *("chat_template_digest", "num_fewshot", "attempts", "filter", "k", "n", "outcomes"),
)
_REPORTED_IDENTITY = ("source", "stage", "checkpoint", "step")
_MEASURED = (
    *("task", "task_version", "hand_set_digest", "template_digest", "decoding", "engine"),
    *("filter", "verdicts", "truncated", "outcomes", "date"),
)


def record_of(row: object) -> Record:
    """Validate a decoded line of JSON.

    Raises:
        InputError: it is no valid record, or not what its checksum was taken over.
    """
    fields = verified(row)
    with errors_in_one_line(Record):
        return Record(**fields)


def _check_status(record: Record) -> None:
    if record.status == "reported":
        if record.source is None:
            raise InputError("source: a reported figure needs one")
        if record.outcomes is not None:
            raise InputError("outcomes: a reported figure has none; what has outcomes is measured")
        return
    needed = _MEASURED if record.schema == 1 else (*_MEASURED, "protocol_digest")
    if missing := [name for name in needed if getattr(record, name) is None]:
        raise InputError(f"{', '.join(missing)}: missing from a measured record")


def _check_counts(record: Record) -> None:
    for name in ("k", "truncated"):
        if (count := getattr(record, name)) is not None and count > record.n:
            raise InputError(f"{name}: expected 0 to n = {record.n}, found {count}")
    for name in ("outcomes", "first_outcomes", "float_outcomes", "float_first_outcomes"):
        if (bits := getattr(record, name)) is not None and len(bits) != record.n:
            raise InputError(f"{name}: expected n = {record.n} characters, found {len(bits)}")
    if record.outcomes is not None and (ones := record.outcomes.count("1")) != record.k:
        raise InputError(f"outcomes: expected k = {record.k} ones, found {ones}")
    if record.verdicts is not None:
        if (total := sum(record.verdicts.values())) != record.n:
            raise InputError(f"verdicts: expected a sum of n = {record.n}, found {total}")
        if (correct := record.verdicts.get(Verdict.CORRECT.value, 0)) != record.k:
            raise InputError(f"verdicts: expected k = {record.k} correct, found {correct}")


def _check_samples(record: Record) -> None:
    if record.samples is None:
        return
    if len(record.samples) != record.n or {len(each) for each in record.samples} != {record.repeats}:
        raise InputError(f"samples: expected as many for each of n = {record.n} deals")
    if record.repeats < 2:
        raise InputError("samples: expected several per deal")
    if record.outcomes != "".join("1" if each[0] > 0 else "0" for each in record.samples):
        raise InputError("samples: expected the first of each deal to be as in outcomes")


def _check_hand_set(record: Record) -> None:
    # The deals of an older task version cannot be rebuilt; such records have a table of their own.
    if record.task is None or record.task_version != task_version(record.task):
        return
    hands = hand_set(record.hand_set, parse_any_rule(record.rule), record.target)
    if record.hand_set_digest != hands.digest:
        raise InputError(
            f"hand_set_digest: expected {hands.digest[:12]}… for {record.hand_set} under rule "
            f"{record.rule}, found {record.hand_set_digest!s:.12}…"
        )
    if record.n > len(hands):
        raise InputError(f"n: hand set {record.hand_set} has {len(hands)} deals, found {record.n}")
