"""The paper's protocol in its original wording, read from a clone of its repository. Nothing is executed.

The repository's sentences are not ours to ship. A user who has a clone can make a protocol folder from it:
the constants and phrases are found in the syntax trees of its files. What a file does not say, such as the
message about face cards under a rule that the repository does not know, stays in our words.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from string import Formatter

from points24.tasks.cards import RULES, Deal
from points24.tasks.errors import InputError
from points24.tasks.protocols.protocol import Protocol, Response, read_protocol
from points24.tasks.protocols.verifiers import VERIFIERS

PROMPTS, VERIFIER = "prompt_lib/prompts.py", "utils_rl.py"
FACE_CARDS, FRAME = "evaluation/evaluator/base_evaluator.py", "evaluation/evaluator/llama_evaluator.py"
EXAMPLE = ("K", "5", "A", "2")

_PROMPT, _REPLY = "Q_GeneralPoint_EQN_L", "ResponseEqn"
_FIELDS = {
    _PROMPT: {"target_number": "target", "cards": "cards", "face_card_msg": "face_card_msg"},
    # Where the repository writes such a reply itself (`compute_sft_ce`), the formula is an equation.
    _REPLY: {"cards": "cards", "numbers": "numbers", "formula": "formula }}={{ target"},
}
_PHRASES = {
    "ILLEGAL_FORMULA": (
        *("illegal_characters", "after_number", "after_operator", "before_open", "unmatched_close"),
        *("after_close", None),  # a token that its own pattern cannot find
    ),
    "INCORRECT_NUMBER": ("invalid_numbers", "overused_numbers", "unused_numbers"),
    "CORRECT_SOLUTION": (None,),  # never told: it ends the dialogue
    "PARTIAL_SOLUTION": ("partial",),
    "NO_SOLUTION": ("no_solution", "beginning"),
}
"""The findings that `step_rewards` words, by the name of their reward, in the order of its lines."""
_OTHER_RULE = """"'J' is worth '" ~ J ~ "', 'Q' is worth '" ~ Q ~ "' and 'K' is worth '" ~ K ~ "'\""""

KNOWN = {
    _PROMPT: "e2578065a11ead7c95a90d3e7b3f5e87495513ff006256987cb2bbbfdf258d68",
    _REPLY: "d9606e3b5d90fe23c9421a9e2daf8d19338c0d9cf762262505a0ffbd0e9c2bed",
    "face cards": "875de4e7c096818ef0b880736ce74bbfd1f6fbc75a61019f8c82055435ecc48a",
    "feedback": "3ddda1fadff71eceb1ba16b3e96861c37f037ae41e0f0e3db9c0b7f3de1cb408",
}
"""SHA-256 of each part in the repositories of arXiv:2508.16546 and arXiv:2501.17161, which agree."""


@dataclass(frozen=True)
class Part:
    """One part of the wording."""

    name: str
    source: str
    """The files in the clone that it is read from, or what they lack."""
    digest: str

    @property
    def is_known(self) -> bool:
        return self.digest == KNOWN[self.name]


@dataclass(frozen=True)
class Reference:
    """What a clone gives."""

    protocol: Protocol
    parts: tuple[Part, ...]


def read_reference(clone: Path) -> Reference:
    """The paper's protocol in the words of a clone of its repository.

    Raises:
        InputError: the clone lacks a file, or a file lacks what is read from it.
    """
    if not clone.is_dir():
        raise InputError(f"{clone}: no such folder")
    prompts, verifier = _tree(clone / PROMPTS), _tree(clone / VERIFIER)
    prompt, reply = _constant(prompts, _PROMPT, clone), _constant(prompts, _REPLY, clone)
    phrases = _phrases(verifier, clone / VERIFIER)
    faces = _face_cards(clone / FACE_CARDS)
    frame = _frame(clone / FRAME)
    ours = read_protocol("paper")
    parts = (
        Part(_PROMPT, PROMPTS, _digest(prompt)),
        Part(_REPLY, PROMPTS, _digest(reply)),
        Part("face cards", FACE_CARDS if faces else f"ours: no message in {FACE_CARDS}", _digest(faces)),
        Part(
            "feedback",
            f"{VERIFIER}, {FRAME}" if frame else f"{VERIFIER}; its frame is ours: none in {FRAME}",
            _digest([frame, phrases]),
        ),
    )
    known = all(part.is_known for part in parts)
    whose = "its repository" if known else "a clone that we do not know"
    protocol = replace(
        ours,
        name="paper-original" if known else "paper-imported",
        about=f"the paper's protocol in the words of {whose}",
        message=f"{frame}." if frame else ours.message,
        findings={
            kind: Response(reward=response.reward, phrase=phrases.get(kind, ""))
            for kind, response in ours.findings.items()
        },
        prompt_source=_face_card_setting(faces) + _jinja(_PROMPT, prompt, clone) + "\n",
        reply_source=_jinja(_REPLY, reply, clone) + "\n",
    )
    return Reference(protocol, parts)


def rendered(protocol: Protocol) -> Iterator[tuple[str, str]]:
    """The name of each rule, and the prompt for an example under it."""
    for name, rule in RULES.items():
        yield name, protocol.prompt.render(Deal(EXAMPLE, rule))


def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except FileNotFoundError as e:
        raise InputError(f"{path}: no such file; expected a clone of the paper's repository") from e
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as e:
        raise InputError(f"{path}: cannot be read as Python: {' '.join(str(e).split())}") from e


def _constant(tree: ast.Module, name: str, clone: Path) -> str:
    """The text that a module assigns to a name, the last time that it does."""
    found = None
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in node.targets
        ):
            found = node.value
    if not (isinstance(found, ast.Constant) and isinstance(found.value, str)):
        raise InputError(
            f"{clone / PROMPTS}: expected {name} = a text, found {'other code' if found else 'none'}"
        )
    return found.value


def _phrases(tree: ast.Module, path: Path) -> dict[str, str]:
    """Finding -> phrase, from the calls ``….add(REWARD_FN["…"], phrase)`` in `step_rewards`."""
    found: dict[str, list[ast.expr]] = {name: [] for name in _PHRASES}
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    for function in functions:
        if function.name != "step_rewards":
            continue
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call) and len(node.args) == 2]
        for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
            key = call.args[0]
            if (
                isinstance(key, ast.Subscript)
                and isinstance(key.slice, ast.Constant)
                and key.slice.value in found
            ):
                found[key.slice.value].append(call.args[1])
    counts = {name: len(values) for name, values in found.items()}
    if counts != (expected := {name: len(kinds) for name, kinds in _PHRASES.items()}):
        raise InputError(f"{path}: step_rewards: expected phrases {expected}, found {counts}")
    fields = VERIFIERS["paper"].findings
    return {
        kind: _template(value, dict.fromkeys(fields[kind]), path)
        for name, kinds in _PHRASES.items()
        for kind, value in zip(kinds, found[name], strict=True)
        if kind is not None
    }


def _template(value: ast.expr, fields: Mapping[str, object], path: Path) -> str:
    """A text or an f-string as a text with fields in braces; the f-string's values become the fields."""
    names = iter(fields)
    pieces = value.values if isinstance(value, ast.JoinedStr) else [value]
    text = ""
    for piece in pieces:
        if isinstance(piece, ast.Constant) and isinstance(piece.value, str):
            text += piece.value.replace("{", "{{").replace("}", "}}")
        elif isinstance(piece, ast.FormattedValue) and (name := next(names, None)):
            text += f"{{{name}}}"
        else:
            expected = f"a text with {len(fields)} values" if fields else "a text"
            raise InputError(f"{path}, line {value.lineno}: expected {expected}, found {ast.unparse(value)}")
    return text


def _face_cards(path: Path) -> tuple[str, str] | None:
    """The messages where face cards count as ten and where they do not."""
    for node in ast.walk(_tree(path)) if path.exists() else ():
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Subscript)
            and isinstance(node.targets[0].slice, ast.Constant)
            and node.targets[0].slice.value == "face_card_msg"
            and isinstance(choice := node.value, ast.IfExp)
            and isinstance(choice.test, ast.Attribute)
            and isinstance(choice.body, ast.Constant)
            and isinstance(choice.orelse, ast.Constant)
        ):
            return str(choice.body.value), str(choice.orelse.value)
    return None


def _frame(path: Path) -> str | None:
    """The sentence around the verifier's phrases, with {why} for them."""
    for node in ast.walk(_tree(path)) if path.exists() else ():
        if isinstance(node, ast.JoinedStr) and "Verify Info" in ast.unparse(node):
            return _template(node, {"why": None}, path)
    return None


def _face_card_setting(faces: tuple[str, str] | None) -> str:
    chosen = _OTHER_RULE
    if faces:
        for message, rule in zip(faces, (RULES["id"], RULES["ood"]), strict=True):
            chosen = f"{message!r} if (J, Q, K) == {tuple(rule)} else {chosen}"
    return f"{{% set face_card_msg = {chosen} %}}"


def _jinja(name: str, text: str, clone: Path) -> str:
    """A text for `str.format` as one for Jinja, which gives the same bytes."""
    place, fields = f"{clone / PROMPTS}: {name}", _FIELDS[name]
    try:
        pieces = list(Formatter().parse(text))
    except ValueError as e:
        raise InputError(f"{place}: {e}") from e
    used = [field for _, field, _, _ in pieces if field is not None]
    if set(used) != fields.keys():
        raise InputError(
            f"{place}: expected the fields {', '.join(fields)}; found {', '.join(used) or 'none'}"
        )
    made, literal = "", ""
    for before, field, _, _ in [*pieces, ("", "", None, None)]:
        literal += before
        if field is not None:
            made += re.sub(r"\{(?=[{%#]|\Z)", "{{ '{' }}", literal)
            made += f"{{{{ {fields[field]} }}}}" if field else ""
            literal = ""
    return made


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
