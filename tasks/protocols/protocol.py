"""A protocol: how a deal is asked, and what becomes of the replies. It is data, a folder with

    protocol.yaml  the fields of `Protocol` but its texts
    prompt.jinja   deal -> prompt; without this file the built-in template (see `points24.tasks.prompts`)
    reply.jinja    (deal, formula) -> the reply that the prompt asks for; without this file JSON

Evaluation (`points24.tasks.lm_eval`) and training take whatever they ask and answer from here. The folders
beside this file are found by their names. What a verifier finds in a reply is code (`verifiers`); how it says
so, and what that is worth, is data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import asdict
from functools import cached_property, lru_cache
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from points24.tasks.cards import NUMBERS, AnyRule, Deal
from points24.tasks.errors import InputError
from points24.tasks.prompts import BUILT_IN, ReplyTemplate, Template, json_reply
from points24.tasks.protocols.verifiers import VERIFIERS
from points24.tasks.protocols.verifiers.verifier import CORRECT, Note
from points24.tasks.validation import STRICT_CONFIG, errors_in_one_line
from points24.tasks.verdict import EXTRACTIONS, Judgement

MAX_ATTEMPTS = 20
DEFAULT = "points24"
SETTINGS, PROMPT, REPLY = "protocol.yaml", "prompt.jinja", "reply.jinja"

_TEXTS = ("prompt_source", "reply_source")
_FOLDERS = {path.parent.name: path.parent for path in sorted(Path(__file__).parent.glob(f"*/{SETTINGS}"))}
PROTOCOLS = tuple(_FOLDERS)
"""The names of the protocols that come with the package."""


@dataclass(frozen=True, kw_only=True, config=STRICT_CONFIG)
class Response:
    """What a finding of the verifier is worth, and how the model is told."""

    reward: float
    phrase: str = ""
    """With the finding's own fields in braces, such as ``{numbers}``."""


class Verification(NamedTuple):
    """What the verifier makes of a reply."""

    success: bool
    reward: float
    """The sum over its findings."""
    message: str | None
    """What the model is told before its next attempt; None after a success."""
    judgement: Judgement
    """The exact verdict under the verifier's own filter."""


@dataclass(frozen=True, kw_only=True, config=STRICT_CONFIG)
class Protocol:
    """How a deal is asked, and what becomes of the replies.

    Raises:
        InputError: a field is malformed, or names something unknown.
    """

    name: str
    about: str
    """One line for people."""
    verifier: str
    """What is found in a reply, and so when a dialogue ends: one of `VERIFIERS`."""
    filters: tuple[str, ...]
    """How formulas are extracted. Replies are judged by each of them side by side."""
    checkers: tuple[Literal["exact", "float"], ...]
    """How values are compared: `exact` gives the metric acc, `float` gives acc_float."""
    attempts: Annotated[int, Field(ge=1, le=MAX_ATTEMPTS)]
    """In tasks with several attempts."""
    max_gen_toks: Annotated[int, Field(ge=1)] | None = None
    """Tokens that a reply may take; None leaves it to the task."""
    decoding: Literal["greedy", "model"]
    """`model`: by the generation settings that the model comes with, as transformers reads them."""
    message: str
    """What the model is told after a reply without success; ``{why}`` stands for the phrases."""
    findings: dict[str, Response]
    """One for each finding of the verifier."""
    prompt_source: str
    reply_source: str | None = None

    def __post_init__(self) -> None:
        if self.verifier not in VERIFIERS:
            raise InputError(f"verifier: expected {' or '.join(VERIFIERS)}, found {self.verifier!r}")
        known = VERIFIERS[self.verifier]
        for name in self.filters:
            if name not in EXTRACTIONS:
                raise InputError(f"filters: unknown filter {name!r}; allowed: {', '.join(EXTRACTIONS)}")
        if known.filter not in self.filters or len(set(self.filters)) < len(self.filters):
            raise InputError(
                f"filters: expected each once, and {known.filter} among them, by which verifier "
                f"{self.verifier} goes; found {', '.join(self.filters) or 'none'}"
            )
        if "exact" not in self.checkers:
            raise InputError(
                f"checkers: expected exact among them, found {', '.join(self.checkers) or 'none'}"
            )
        if self.findings.keys() != known.findings.keys():
            raise InputError(
                f"findings: expected {', '.join(known.findings)}; found {', '.join(self.findings) or 'none'}"
            )
        _check_fields("message", self.message, {"why"})
        for kind, response in self.findings.items():
            _check_fields(f"findings.{kind}.phrase", response.phrase, known.findings[kind])
        assert self.prompt  # whose constructor validates the source
        assert self.reply_source is None or self._layout

    @cached_property
    def prompt(self) -> Template:
        return Template(self.prompt_source, f"protocol {self.name}, {PROMPT}")

    @cached_property
    def _layout(self) -> ReplyTemplate:
        return ReplyTemplate(self.reply_source or "", f"protocol {self.name}, {REPLY}")

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything but the name and the line for people."""
        content = {key: value for key, value in asdict(self).items() if key not in ("name", "about")}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @cached_property
    def feedback_digest(self) -> str:
        """SHA-256 over the verifier's wording, without what its findings fill in."""
        phrases = {kind: response.phrase for kind, response in self.findings.items() if response.phrase}
        return hashlib.sha256(json.dumps([self.message, phrases]).encode()).hexdigest()

    @property
    def own_filter(self) -> str:
        """The filter by which the verifier goes."""
        return VERIFIERS[self.verifier].filter

    @property
    def rewards(self) -> dict[str, float]:
        """What each finding is worth."""
        return {kind: response.reward for kind, response in self.findings.items()}

    def reply(self, deal: Deal, formula: str) -> str:
        """The reply that the prompt asks for."""
        return self._layout.render(deal, formula) if self.reply_source else json_reply(deal, formula)

    def verify(self, deal: Deal, reply: object) -> Verification:
        """What the verifier makes of a reply; anything but text holds no formula."""
        found, judgement = VERIFIERS[self.verifier].examine(deal, reply)
        success = any(finding.kind == CORRECT for finding in found)
        return Verification(success, self.reward(found), None if success else self._told(found), judgement)

    def reward(self, found: Iterable[Note]) -> float:
        """What the findings are worth together."""
        return sum((self.findings[finding.kind].reward for finding in found), 0.0)

    def settings_text(self) -> str:
        """The content of its ``protocol.yaml``, which `read_protocol` reads back."""
        settings = {
            key: value for key, value in asdict(self).items() if key not in _TEXTS and value is not None
        }
        settings["findings"] = {
            kind: {key: value for key, value in response.items() if value != ""}
            for kind, response in settings["findings"].items()
        }
        plain = json.loads(json.dumps(settings))  # lists for tuples
        return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110)

    def _told(self, found: Iterable[Note]) -> str:
        phrases = (self.findings[finding.kind].phrase.format(**finding.fields) for finding in found)
        return self.message.format(why=", ".join(phrases))


@lru_cache(maxsize=16)
def read_protocol(name: str) -> Protocol:
    """A protocol by its name, or by the path of its folder.

    Raises:
        InputError: there is none, or its files are malformed.
    """
    folder = _FOLDERS.get(name) or Path(name).expanduser()
    if not (folder / SETTINGS).is_file():
        raise InputError(
            f"protocol: expected {' or '.join(PROTOCOLS)}, or a folder with {SETTINGS}; found {name!r}"
        )
    settings = _settings(folder / SETTINGS)
    if name not in PROTOCOLS and settings.get("name") in PROTOCOLS:
        raise InputError(f"{folder / SETTINGS}: name: {settings['name']!r} is one of ours; choose another")
    prompt, reply = folder / PROMPT, folder / REPLY
    settings["prompt_source"] = _text(prompt if prompt.exists() else BUILT_IN)
    if reply.exists():
        settings["reply_source"] = _text(reply)
    try:
        with errors_in_one_line(Protocol):
            return TypeAdapter(Protocol).validate_json(json.dumps(settings, default=str))
    except InputError as e:
        raise InputError(f"{folder / SETTINGS}: {e}") from e


def usual_protocol(rule: AnyRule) -> Protocol:
    """The protocol by which deals under a rule are asked where nobody names one."""
    return read_protocol(NUMBERS.name if rule == NUMBERS else DEFAULT)


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(_text(path))
    except yaml.YAMLError as e:
        raise InputError(f"{path}: not YAML: {' '.join(str(e).split())}") from e
    if not isinstance(settings, dict):
        raise InputError(f"{path}: expected keys and values, found {type(settings).__name__}")
    return settings


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")  # line breaks as they are: they are part of a prompt
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{path}: cannot be read as UTF-8 text: {e}") from e


def _check_fields(place: str, text: str, allowed: Collection[str]) -> None:
    """Check that a text has no fields in braces but the allowed ones."""
    try:
        found = [field + (spec or "") for _, field, spec, _ in Formatter().parse(text) if field is not None]
    except ValueError as e:
        raise InputError(f"{place}: {e}") from e
    if unknown := [field for field in found if field not in allowed]:
        expected = ", ".join(f"{{{name}}}" for name in sorted(allowed)) or "no field"
        raise InputError(f"{place}: expected {expected}, found {{{unknown[0]}}}")
