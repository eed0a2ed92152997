"""Read lm-eval's output folders: pair results with samples, and check them.

lm-eval writes ``results_<time>.json`` beside one ``samples_<task>_<time>.jsonl`` per task, with a row for
each deal and filter. A *run* is one task of one results file with its samples.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from points24.harness.files import json_lines
from points24.tasks.cards import Deal, parse_any_rule
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import HandSet, hand_set
from points24.tasks.lm_eval.files import task_version
from points24.tasks.protocols.protocol import DEFAULT, PROTOCOLS, Protocol, read_protocol
from points24.tasks.revision import deciding
from points24.tasks.verdict import EXTRACTIONS, Verdict

_RESULTS = {"config", "configs", "date", "n-samples", "n-shot", "results"}
_METADATA = {"version", "hand_set", "rule", "target", "hand_set_digest", "template_digest"}


@dataclass(frozen=True)
class Reply:
    """A reply, as lm-eval's filter judged it during the run."""

    text: str
    verdict: Verdict
    reason: str
    truncated: bool
    correct_in_floats: bool | None = None
    """None where the run did not ask the float checker."""
    vote: str | None = None
    """Of one of several samples; see `points24.tasks.sampling`."""


@dataclass(frozen=True)
class Dialogue:
    """One deal with the reply of each attempt, at least one."""

    deal: Deal
    replies: tuple[Reply, ...]
    samples: tuple[Reply, ...] = ()
    """Where there are several independent ones; `replies` is then the first of them."""

    @property
    def deciding(self) -> Reply:
        """The first correct reply, else the last."""
        return self.replies[deciding([reply.verdict for reply in self.replies])]


@dataclass(frozen=True)
class Run:
    """One task of one lm-eval run.

    Attributes:
        task: the lm-eval task.
        version: the task's version, as installed.
        results: the results file, decoded.
        dialogues: for each filter, one per deal in hand-set order.
    """

    task: str
    version: str
    results: dict[str, Any]
    dialogues: dict[str, list[Dialogue]]

    @property
    def config(self) -> dict[str, Any]:
        return self.results["configs"][self.task]

    @property
    def metadata(self) -> dict[str, Any]:
        return self.config["metadata"]

    @property
    def attempts(self) -> int:
        return int(self.metadata.get("attempts", 1))

    @property
    def repeats(self) -> int:
        """Independent samples per deal."""
        return int(self.metadata.get("repeats", 1))

    @property
    def protocol(self) -> str:
        """The protocol's name. Runs before there were several have none: theirs was the default."""
        return self.metadata.get("protocol", DEFAULT)

    def read_protocol(self) -> Protocol:
        """The protocol itself.

        Raises:
            InputError: it is not where the run had it, or has changed since.
        """
        return _protocol(self.metadata, self.task)


def runs(folder: Path, *, any_version: bool = False) -> Iterator[Callable[[], Run]]:
    """Every points24 run below a folder, as a function that reads it.

    The function may raise `InputError`, so that one unreadable run does not stop the others.

    Args:
        folder: where lm-eval wrote, or a folder above.
        any_version: accept other task versions with the same deals, whose replies are to be judged again.

    Raises:
        InputError: no such folder, no results below it, or no points24 task among them.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    files = sorted(folder.rglob("results_*.json"))
    if not files:
        raise InputError(f"{folder}: no results_*.json below; lm_eval writes it with --output_path {folder}")
    found = False
    for path in files:
        try:
            results = _results(path)
        except InputError as e:
            found = True
            yield partial(_fail, e)
            continue
        for task, config in results["configs"].items():
            if "hand_set" in (config.get("metadata") or {}):
                found = True
                yield partial(_run, path, results, task, any_version)
    if not found:
        raise InputError(f"{folder}: no points24 task in its {len(files)} results_*.json")


def _fail(error: InputError) -> NoReturn:
    raise error


def _results(path: Path) -> dict[str, Any]:
    try:
        results = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as e:
        raise InputError(f"{path}: not readable as JSON: {e}") from e
    if not isinstance(results, dict):
        raise InputError(f"{path}: not a results file of lm-eval: it holds a {type(results).__name__}")
    if missing := sorted(_RESULTS - results.keys()):
        raise InputError(f"{path}: not a results file of lm-eval: it lacks {', '.join(missing)}")
    return results


def _run(path: Path, results: dict[str, Any], task: str, any_version: bool) -> Run:
    metadata = results["configs"][task]["metadata"]
    if missing := sorted(_METADATA - metadata.keys()):
        raise InputError(f"{path}: the metadata of {task} lack {', '.join(missing)}")
    for part in ("n-samples", "n-shot", "results"):
        if task not in results[part]:
            raise InputError(f"{path}: its {part!r} lack {task}")
    found, installed = str(metadata["version"]), task_version(task)
    if installed is None:
        raise InputError(f"{path}: no task {task} is installed")
    if found != installed and not any_version:
        raise InputError(
            f"{path}: {task} has version {found}, but {installed} is installed; "
            "points24 leaderboard rescore judges such samples again"
        )
    hands = _hands(path, task, metadata)
    time = path.stem.removeprefix("results_")
    samples = path.with_name(f"samples_{task}_{time}.jsonl")
    if not samples.exists():
        raise InputError(f"{path}: no {samples.name} beside it; run lm_eval with --log_samples")
    filters = _filters(path, results["configs"][task])
    expected = results["n-samples"][task]["effective"]
    return Run(task, installed, results, _dialogues(samples, hands, filters, expected))


def _dialogues(samples: Path, hands: HandSet, filters: list[str], expected: int) -> dict[str, list[Dialogue]]:
    """For each filter, the dialogues on the first `expected` deals, in their order.

    Rows come in any order: where several processes share the deals, those of one after those of another.
    """
    dialogues: dict[str, dict[int, Dialogue]] = {name: {} for name in filters}
    for number, row in json_lines(samples, dict):
        try:
            name, dialogue = _dialogue(row, tuple(dialogues))
            place = row["doc_id"]
            if type(place) is not int or not 0 <= place < len(hands):
                raise InputError(f"doc_id: expected 0 to {len(hands) - 1}, found {place!r}")
            if place in dialogues[name]:
                raise InputError(f"deal {place} a second time")
            if dialogue.deal != hands.deals[place]:
                raise InputError(f"deal {place} is not the hand set's: {' '.join(dialogue.deal.cards)}")
        except (KeyError, TypeError, IndexError, ValueError) as e:  # InputError is a ValueError
            why = f"missing {e}" if isinstance(e, KeyError) else e
            raise InputError(f"{samples}, line {number}: {why}") from e
        dialogues[name][place] = dialogue
    for name, found in dialogues.items():
        if len(found) != expected or not expected or max(found) >= expected:
            last = f", the last deal {max(found)}" if found else ""
            raise InputError(
                f"{samples}: expected the first {expected} deals for {name}, found {len(found)} rows{last}"
            )
    return {name: [found[place] for place in range(len(found))] for name, found in dialogues.items()}


def _hands(path: Path, task: str, metadata: dict[str, Any]) -> HandSet:
    """The hand set of a run, whose digests must be those of the installed one."""
    hands = hand_set(metadata["hand_set"], parse_any_rule(metadata["rule"]), metadata["target"])
    if metadata["hand_set_digest"] != hands.digest:
        raise InputError(
            f"{path}: {task} asked hand set {metadata['hand_set_digest'][:12]}…, but the installed "
            f"{hands.name} is {hands.digest[:12]}…"
        )
    if metadata.get("protocol", DEFAULT) in PROTOCOLS:
        _protocol(metadata, f"{path}: {task}")
    return hands


def _protocol(metadata: dict[str, Any], place: str) -> Protocol:
    protocol = read_protocol(metadata.get("protocol_folder", metadata.get("protocol", DEFAULT)))
    for name, what, installed in (
        ("feedback_digest", "verifier's wording", protocol.feedback_digest),
        ("protocol_digest", "protocol", protocol.digest),
    ):
        used = metadata.get(name)
        if used not in (None, installed):
            raise InputError(
                f"{place} used the {what} {used[:12]}…, but the installed one is {installed[:12]}…"
            )
    return protocol


def _filters(path: Path, config: dict[str, Any]) -> list[str]:
    """The filters of a task's run, in its order."""
    names = [each.get("name") for each in config.get("filter_list") or ()]
    if not names or not set(names) <= EXTRACTIONS.keys():
        raise InputError(f"{path}: filter_list: expected some of {', '.join(EXTRACTIONS)}, found {names}")
    return names


def _dialogue(row: dict[str, Any], filters: Sequence[str]) -> tuple[str, Dialogue]:
    doc, texts = row["doc"], _flat(row["resps"])
    judged = json.loads(row["filtered_resps"][0])
    judged = judged if isinstance(judged, list) else [judged]
    if row["filter"] not in filters:
        raise InputError(f"filter: expected {' or '.join(filters)}, found {row['filter']!r}")
    # More replies than judgements are possible: with several processes lm-eval pads by repeating a deal.
    if not 1 <= len(judged) <= len(texts):
        raise InputError(f"{len(texts)} replies, of which {len(judged)} are judged")
    deal = Deal(tuple(doc["cards"]), parse_any_rule(doc["rule"]), doc["target"])
    replies = tuple(
        Reply(
            text,
            Verdict(found["verdict"]),
            found["reason"],
            bool(found["truncated"]),
            found.get("correct_in_floats"),
            found.get("vote"),
        )
        for text, found in zip(texts, judged, strict=False)
    )
    if "vote" in judged[0]:
        return row["filter"], Dialogue(deal, replies[:1], replies)
    return row["filter"], Dialogue(deal, replies)


def _flat(replies: Sequence[Any]) -> list[str]:
    """lm-eval nests a document's replies in one list per request."""
    return [text for reply in replies for text in (reply if isinstance(reply, list) else [reply])]
