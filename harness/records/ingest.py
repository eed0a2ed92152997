"""lm-eval run -> records, one per filter."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from points24.harness.checkpoints.digest import weights_digest
from points24.harness.records.decoding import decoding_of
from points24.harness.records.lm_eval_output import Dialogue, Reply, Run
from points24.harness.records.record import SCHEMA, Record, record_of
from points24.tasks.errors import InputError
from points24.tasks.lm_eval.files import task_protocol
from points24.tasks.protocols.protocol import PROTOCOLS, Protocol, read_protocol
from points24.tasks.replies import is_truncated
from points24.tasks.sampling import numbered, vote_of
from points24.tasks.verdict import Verdict, judge_reply

_CHECKPOINT_FOLDER = re.compile(r"checkpoint-(\d+)")
_PACKAGE_LINES = {"torch": r"PyTorch version: (\S+)", "python": r"Python version: (\S+)"}


class About(NamedTuple):
    """Facts about a checkpoint that lm-eval does not know; None takes what its folder says."""

    model: str | None = None
    parent: str | None = None
    stage: str | None = None
    step: int | None = None
    weights_sha256: str | None = None
    recipe: dict[str, Any] | None = None


def records_of(run: Run, about: About) -> list[Record]:
    """The records of a run, with the verdicts of lm-eval's filters.

    Raises:
        InputError: the samples do not make a valid record.
    """
    common = _common(run, about)
    return [_record(common, name, dialogues) for name, dialogues in run.dialogues.items()]


def rescored(run: Run) -> Run:
    """Judge the stored replies of a run again, with the installed checker.

    Raises:
        InputError: the installed checker would have sent another message in a dialogue; the model's reply to
            that message is unknown.
    """
    protocol = run.read_protocol()
    lengths = [
        _length(protocol, dialogue, place, run.attempts)
        for place, dialogue in enumerate(run.dialogues[protocol.own_filter])
    ]
    dialogues = {
        name: [_judged(dialogue, n, name) for dialogue, n in zip(old, lengths, strict=True)]
        for name, old in run.dialogues.items()
    }
    return replace(run, dialogues=dialogues)


def _length(protocol: Protocol, dialogue: Dialogue, place: int, attempts: int) -> int:
    """How many replies the dialogue about deal `place` would have with the installed checker."""
    for number, then in enumerate(dialogue.replies, start=1):
        now = protocol.verify(dialogue.deal, then.text)
        if now.success or number == attempts:
            return number
        # The verifier's message follows from these two.
        if (then.verdict, then.reason) != (now.judgement.verdict, now.judgement.reason):
            raise InputError(
                f"deal {place}: the verifier would now answer reply {number} differently "
                f"({now.judgement.reason}; then: {then.reason}), and the model's reply to that is unknown"
            )
    return len(dialogue.replies)  # the next prompt exceeded the model's context


def _judged(dialogue: Dialogue, length: int, name: str) -> Dialogue:
    def again(then: Reply) -> Reply:
        now = judge_reply(dialogue.deal, then.text, name)
        in_floats = None if then.correct_in_floats is None else now.correct_in_floats
        vote = vote_of(dialogue.deal, now.formula, name) if dialogue.samples else None
        return Reply(then.text, now.verdict, now.reason, is_truncated(then.text), in_floats, vote)

    replies = tuple(map(again, dialogue.replies[:length]))
    return Dialogue(dialogue.deal, replies, tuple(map(again, dialogue.samples)))


def check_against_results(run: Run) -> None:
    """Check that samples and results file give the same accuracy.

    Raises:
        InputError: they differ.
    """
    for name, dialogues in run.dialogues.items():
        row = run.results["results"][run.task]
        if f"bypass,{name}" in row:  # --predict_only: there are the samples alone
            continue
        stated = row.get(f"acc,{name}", math.nan)
        correct = [
            reply.verdict == Verdict.CORRECT
            for dialogue in dialogues
            for reply in dialogue.samples or (dialogue.deciding,)
        ]
        found = sum(correct) / len(correct)
        if not math.isclose(stated, found, abs_tol=1e-9):
            raise InputError(f"{run.task}, {name}: results say acc {stated:.6f}, samples {found:.6f}")


def _record(common: dict[str, Any], name: str, dialogues: list[Dialogue]) -> Record:
    replies = [dialogue.deciding for dialogue in dialogues]
    counts = Counter(reply.verdict for reply in replies)
    correct = [[reply.verdict == Verdict.CORRECT for reply in dialogue.replies] for dialogue in dialogues]
    outcomes = _bits(map(any, correct))
    return record_of(
        common
        | _other_outcomes(dialogues, correct, common["attempts"])
        | {
            "filter": name,
            "k": outcomes.count("1"),
            "n": len(outcomes),
            "verdicts": {verdict.value: counts[verdict] for verdict in Verdict},
            "truncated": sum(reply.truncated for reply in replies),
            "outcomes": outcomes,
            "samples": [_numbered(dialogue) for dialogue in dialogues] if dialogues[0].samples else None,
        }
    )


def _other_outcomes(
    dialogues: list[Dialogue], correct: list[list[bool]], attempts: int
) -> dict[str, str | None]:
    """The outcomes at the first reply and under the float checker, where they differ in meaning."""
    floats = [[reply.correct_in_floats for reply in dialogue.replies] for dialogue in dialogues]
    has_floats = floats[0][0] is not None
    several = attempts > 1
    return {
        "first_outcomes": _bits(each[0] for each in correct) if several else None,
        "float_outcomes": _bits(map(any, floats)) if has_floats else None,
        "float_first_outcomes": _bits(each[0] for each in floats) if has_floats and several else None,
    }


def _numbered(dialogue: Dialogue) -> list[int]:
    samples = dialogue.samples
    return numbered([s.vote for s in samples], [s.verdict == Verdict.CORRECT for s in samples])


def _bits(outcomes: Iterable[object]) -> str:
    return "".join("1" if each else "0" for each in outcomes)


def _common(run: Run, about: About) -> dict[str, Any]:
    results, metadata, settings = run.results, run.metadata, run.results["config"]
    pretrained = str(results.get("model_name") or settings["model"])
    folder = Path(pretrained).expanduser()
    folder = folder if folder.is_dir() else None
    model = about.model or model_name(pretrained)
    step = _CHECKPOINT_FOLDER.fullmatch(Path(pretrained).name)
    arguments = settings.get("model_args") or {}
    dtype = settings.get("model_dtype") or (arguments.get("dtype") if isinstance(arguments, dict) else None)
    return {
        "schema": SCHEMA,
        "status": "measured",
        "model": model,
        "parent": about.parent,
        "stage": about.stage,
        "step": int(step[1]) if about.step is None and step else about.step,
        "weights_sha256": about.weights_sha256 or (folder and weights_digest(folder)),
        "recipe": about.recipe or (folder and _recipe(folder)),
        "task": run.task,
        "task_version": run.version,
        "hand_set": metadata["hand_set"],
        "rule": metadata["rule"],
        "target": metadata["target"],
        "hand_set_digest": metadata["hand_set_digest"],
        "protocol": run.protocol,
        "protocol_digest": metadata.get("protocol_digest") or run.read_protocol().digest,
        "template_digest": metadata["template_digest"],
        "chat_template_digest": results.get("chat_template_sha"),
        "num_fewshot": results["n-shot"][run.task],
        "attempts": run.attempts,
        "decoding": decoding_of(run, pretrained),
        "engine": settings["model"],
        "dtype": dtype and str(dtype).removeprefix("torch."),
        "versions": _versions(results),
        "date": datetime.fromtimestamp(results["date"], timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "command": _command(run, model),
    }


def model_name(pretrained: str) -> str:
    """A model's name in records: a hub id, or a folder's name, after its parent's for ``checkpoint-90``."""
    path = Path(pretrained).expanduser()
    if not (path.is_dir() or path.is_absolute() or pretrained.startswith(".")):
        return pretrained
    path = path.resolve()
    return f"{path.parent.name}/{path.name}" if _CHECKPOINT_FOLDER.fullmatch(path.name) else path.name


def _recipe(folder: Path) -> dict[str, Any] | None:
    """How a checkpoint was made: by recovery (``recovery.json``) or else by training (``training.json``)."""
    for name, key in (("recovery.json", "recipe"), ("training.json", "config")):
        path = folder / name
        if path.exists():
            try:
                made = json.loads(path.read_text("utf-8"))
                pair = {end: model_name(made[end]) for end in ("source", "target") if end in made}
                recipe = pair | made[key]
                if parent := recipe.get("model_name_or_path"):
                    recipe["model_name_or_path"] = model_name(parent)
            except (ValueError, KeyError, TypeError, RecursionError) as e:
                raise InputError(f"{path}: expected a JSON object with {key!r}: {e}") from e
            return {key: value for key, value in recipe.items() if key != "output_dir"}
    return None


def _versions(results: dict[str, Any]) -> dict[str, str]:
    """The versions that lm-eval recorded, and the version of points24 that reads them."""
    found = {
        "points24": version("points24"),
        "lm_eval": results.get("lm_eval_version"),
        "transformers": results.get("transformers_version"),
    }
    for package, pattern in _PACKAGE_LINES.items():
        line = re.search(pattern, results.get("pretty_env_info") or "")
        found[package] = line and line[1]
    return {package: str(number) for package, number in found.items() if number}


def _command(run: Run, model: str) -> str:
    """The lm-eval command behind a run, rebuilt from its results; a folder appears as its name."""
    settings = run.results["config"]
    words = ["lm_eval", "--model", settings["model"], "--tasks", run.task]
    if arguments := settings.get("model_args"):
        if isinstance(arguments, str):
            pairs = (pair.partition("=") for pair in arguments.split(","))
            arguments = {key: value for key, _, value in pairs}
        shown = {
            key: model if key in ("pretrained", "model") else model_name(str(value))
            for key, value in arguments.items()
        }
        words += ["--model_args", ",".join(f"{key}={value}" for key, value in shown.items())]
    for flag in ("batch_size", "device", "limit"):
        if settings.get(flag) is not None:
            words += [f"--{flag}", str(settings[flag])]
    if run.results["n-shot"][run.task]:
        words += ["--num_fewshot", str(run.results["n-shot"][run.task])]
    if run.results.get("chat_template_sha"):
        words.append("--apply_chat_template")
    if given := settings.get("gen_kwargs"):
        words += ["--gen_kwargs", given if isinstance(given, str) else json.dumps(given)]
    words += [word for setting in _metadata(run) for word in ("--metadata", setting)]
    return shlex.join([*words, "--log_samples"])


def _metadata(run: Run) -> list[str]:
    """The ``key=value`` metadata that make a run another than its task's default."""
    built_in = run.protocol in PROTOCOLS
    changed = {
        "protocol": run.protocol if run.protocol != task_protocol(run.task) else None,
        "decoding": run.metadata.get("decoding"),
        "repeats": str(run.repeats) if run.repeats > 1 else None,
    }
    if "feedback_digest" in run.metadata and not (
        built_in and run.attempts == read_protocol(run.protocol).attempts
    ):
        changed["attempts"] = str(run.attempts)
    return [f"{key}={value}" for key, value in changed.items() if value]
