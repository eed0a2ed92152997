"""The result record: what one checkpoint did on one task under one filter. Schema and validation.

A record is one line of JSON. This module is where every field is documented. `record_of` is the only way
in: whatever it returns holds together (counts that add up, outcomes as long as n, digests that match).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import cached_property, lru_cache
from types import NoneType
from typing import Any, get_args, get_type_hints

from points24.tasks.cards import TARGET, parse_rule
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import hand_set
from points24.tasks.lm_eval.files import task_version
from points24.tasks.verdict import FILTERS, Verdict

SCHEMA = 1
"""Goes up whenever a field is added, removed or changes its meaning."""

STATUSES = ("measured", "reported")

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of a records file. None where a reported figure does not come with the information."""

    schema: int = SCHEMA
    """Version of this schema."""
    status: str
    """``measured``: ingested from lm-eval's output. ``reported``: a figure that somebody published."""

    model: str
    """Name of the checkpoint: a hub id, or a folder's name without its path."""
    parent: str | None = None
    """`model` or `label` of the checkpoint that this one was trained or repaired from."""
    stage: str | None = None
    """What made it: base, SFT, RL, recovered, …"""
    checkpoint: str | None = None
    """The author's word for a moment in training, where no step is known."""
    step: int | None = None
    """Optimiser steps within the stage."""
    weights_sha256: str | None = None
    """See `points24.harness.checkpoints.digest`. None where the weights were not at hand."""
    recipe: dict[str, Any] | None = None
    """The training configuration or the recovery recipe that the checkpoint's folder carries."""

    task: str | None = None
    """The lm-eval task."""
    task_version: str | None = None
    """Its ``metadata.version``."""
    hand_set: str
    """Name of the hand set (see `points24.tasks.hand_sets`)."""
    rule: str
    """``id``, ``ood``, or a mapping such as ``J=5,Q=7,K=9``."""
    target: int = TARGET
    """The number to reach."""
    hand_set_digest: str | None = None
    """SHA-256 over the hand set."""
    template_digest: str | None = None
    """SHA-256 over the prompt template."""
    chat_template_digest: str | None = None
    """SHA-256 over the model's chat template; None where the prompt was plain text."""
    num_fewshot: int = 0
    """Worked examples before the prompt."""
    attempts: int
    """Attempts per deal; from the second on with the verifier's feedback."""
    decoding: dict[str, Any] | None = None
    """lm-eval's ``generation_kwargs``."""
    engine: str | None = None
    """lm-eval's ``--model``: hf, vllm, local-completions, …"""
    dtype: str | None = None
    """Of the weights in the engine, such as ``float32``."""

    filter: str | None = None
    """``strict-match`` or ``flexible-extract``."""
    k: int
    """Deals won."""
    n: int
    """Deals played: the first n of the hand set."""
    verdicts: dict[str, int] | None = None
    """Replies per verdict; they add up to n, and those that are ``correct`` to k. With several attempts, the
    one reply per deal that decides it: the first correct one, else the last."""
    truncated: int | None = None
    """How many of these replies end inside something they opened."""
    outcomes: str | None = None
    """One character per deal in hand-set order: 1 won, 0 not."""

    versions: dict[str, str] | None = None
    """Python and packages."""
    date: str | None = None
    """Start of the run in UTC, ISO 8601 with a final Z."""
    command: str | None = None
    """The lm-eval command, rebuilt from what lm-eval recorded; a model folder shows as its name."""
    source: str | None = None
    """Of a reported figure: where it is published."""

    @property
    def label(self) -> str:
        """The checkpoint in words: model, stage, and checkpoint or step."""
        step = None if self.step is None else f"step {self.step}"
        return " ".join(part for part in (self.model, self.stage, self.checkpoint, step) if part)

    @cached_property
    def key(self) -> str:
        """SHA-256 that identifies the run: a run that is ingested twice has one key.

        Over what happened, not over what is said about it: a checkpoint whose parent is named only the
        second time, or whose weights have gone since, is still the same run.
        """
        names = _IDENTITY if self.status == "measured" else (*_IDENTITY, *_REPORTED_IDENTITY)
        content = json.dumps([getattr(self, name) for name in names], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def verdict_share(self, verdict: Verdict) -> float | None:
        """Share of the replies with a verdict, 0 … 1; None where the record counts none."""
        return None if self.verdicts is None else self.verdicts.get(verdict.value, 0) / self.n

    def line(self) -> str:
        """The record as one line of JSON, without the line break."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(", ", ": "), allow_nan=False)


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
    """A record from a decoded line of JSON.

    Raises:
        InputError: what is wrong, found and allowed.
    """
    if not isinstance(row, dict):
        raise InputError(f"expected a JSON object, found {type(row).__name__}")
    types = _types()
    if unknown := sorted(map(str, row.keys() - types.keys())):
        raise InputError(f"unknown key {', '.join(unknown)}; allowed: {', '.join(types)}")
    if row.get("schema") != SCHEMA:
        raise InputError(f"schema: expected {SCHEMA}, found {row.get('schema')!r}")
    for name, value in row.items():
        if not _fits(value, types[name]):
            shown = " or ".join("null" if t is NoneType else t.__name__ for t in types[name])
            raise InputError(f"{name}: expected {shown}, found {value!r:.80}")
    try:
        record = Record(**row)
    except TypeError as e:  # a field without default is missing
        raise InputError(str(e).partition(") ")[2] or str(e)) from e
    for check in _CHECKS:
        check(record)
    return record


@lru_cache(maxsize=1)
def _types() -> dict[str, tuple[type, ...]]:
    """Field -> the plain types its value may have."""
    hints = get_type_hints(Record)
    return {
        field.name: tuple(getattr(t, "__origin__", t) for t in get_args(hints[field.name]))
        if NoneType in get_args(hints[field.name])
        else (getattr(hints[field.name], "__origin__", hints[field.name]),)
        for field in fields(Record)
    }


def _fits(value: object, types: tuple[type, ...]) -> bool:
    return isinstance(value, types) and not isinstance(value, bool)


def _check_words(record: Record) -> None:
    for name, value in vars(record).items():
        if isinstance(value, str) and (_CONTROL.search(value) or not value):
            raise InputError(f"{name}: expected text in one line, found {value!r:.80}")
    _allow("status", record.status, STATUSES)
    if record.filter is not None:
        _allow("filter", record.filter, FILTERS)
    parse_rule(record.rule)
    if record.date is not None and not _DATE.fullmatch(record.date):
        raise InputError(f"date: expected UTC such as 2026-01-31T12:00:00Z, found {record.date!r}")


def _check_status(record: Record) -> None:
    if record.status == "reported":
        if record.source is None:
            raise InputError("source: a reported figure needs one")
        if record.outcomes is not None:
            raise InputError("outcomes: a reported figure has none; what has outcomes is measured")
        return
    if missing := [name for name in _MEASURED if getattr(record, name) is None]:
        raise InputError(f"{', '.join(missing)}: missing from a measured record")


def _check_counts(record: Record) -> None:
    if record.n < 1:
        raise InputError(f"n: expected at least 1, found {record.n}")
    if not 0 <= record.k <= record.n:
        raise InputError(f"k: expected 0 to n = {record.n}, found {record.k}")
    if record.attempts < 1:
        raise InputError(f"attempts: expected at least 1, found {record.attempts}")
    if record.truncated is not None and not 0 <= record.truncated <= record.n:
        raise InputError(f"truncated: expected 0 to n = {record.n}, found {record.truncated}")
    if record.outcomes is not None:
        if len(record.outcomes) != record.n:
            raise InputError(f"outcomes: expected n = {record.n} characters, found {len(record.outcomes)}")
        if strange := set(record.outcomes) - {"0", "1"}:
            raise InputError(f"outcomes: expected 0 and 1 alone, found {min(strange)!r}")
        if record.outcomes.count("1") != record.k:
            raise InputError(f"outcomes: expected k = {record.k} ones, found {record.outcomes.count('1')}")


def _check_verdicts(record: Record) -> None:
    if record.verdicts is None:
        return
    allowed = [verdict.value for verdict in Verdict]
    for name, count in record.verdicts.items():
        _allow("verdicts", name, allowed)
        if not _fits(count, (int,)) or count < 0:
            raise InputError(f"verdicts: expected a count for {name}, found {count!r}")
    if (total := sum(record.verdicts.values())) != record.n:
        raise InputError(f"verdicts: expected a sum of n = {record.n}, found {total}")
    if (correct := record.verdicts.get(Verdict.CORRECT.value, 0)) != record.k:
        raise InputError(f"verdicts: expected k = {record.k} correct, found {correct}")


def _check_digests(record: Record) -> None:
    for name in ("weights_sha256", "hand_set_digest", "template_digest", "chat_template_digest"):
        value = getattr(record, name)
        if value is not None and not _SHA256.fullmatch(value):
            raise InputError(f"{name}: expected 64 hexadecimal digits, found {value!r:.80}")
    # What an older version of the task asked cannot be made again, and stands in a table of its own.
    if record.task is None or record.task_version != task_version(record.task):
        return
    hands = hand_set(record.hand_set, parse_rule(record.rule), record.target)
    if record.hand_set_digest != hands.digest:
        raise InputError(
            f"hand_set_digest: expected {hands.digest[:12]}… for {record.hand_set} under rule "
            f"{record.rule}, found {record.hand_set_digest!s:.12}…"
        )
    if record.n > len(hands):
        raise InputError(f"n: hand set {record.hand_set} has {len(hands)} deals, found {record.n}")


_CHECKS: tuple[Callable[[Record], None], ...] = (
    _check_words,
    _check_status,
    _check_counts,
    _check_verdicts,
    _check_digests,
)


def _allow(name: str, value: str, allowed: tuple[str, ...] | list[str]) -> None:
    if value not in allowed:
        raise InputError(f"{name}: expected {' or '.join(allowed)}, found {value!r:.80}")
