"""``points24 play``: a page that deals, judges in the browser, and shows replies of models by verdict.

The page is one file that loads nothing. `play_page/` holds its parts; among them the gallery, as made by

    make demo
    points24 play --samples nano-demo/sft-0 -o harness/commands/play_page/gallery.json
"""

from __future__ import annotations

import argparse
import json
import random
import webbrowser
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from points24.harness.cli import Command
from points24.harness.commands.javascript import tables
from points24.harness.files import write_text
from points24.harness.records.ingest import model_name
from points24.harness.records.lm_eval_output import Run, runs
from points24.tasks.cards import Rule
from points24.tasks.errors import InputError
from points24.tasks.prompts import BUILT_IN
from points24.tasks.verdict import STRICT, Verdict, judge_reply

PARTS = Path(__file__).parent / "play_page"
PER_VERDICT = 6
LONGEST_REPLY = 1_500
"""Characters; the gallery leaves longer replies out."""
ABOUT = {
    Verdict.WRONG_RULE: "Right if the face cards counted as under another rule: a memorised rule.",
    Verdict.CORRECT: "Uses each card once, at its value under the stated rule, and equals 24 exactly.",
    Verdict.WRONG_VALUE: "The right numbers, but another result.",
    Verdict.WRONG_NUMBERS: "A card is missing, added, used twice or misread.",
    Verdict.ILLEGAL: "The formula is not in the grammar.",
    Verdict.NO_ANSWER: "Not the JSON that the prompt asks for, or no formula in it.",
}
"""The verdicts in the order in which the page shows them."""

Reply = dict[str, Any]
"""``cards``, ``rule``, ``target``, ``reply``, ``verdict`` by strict-match, and whose: ``model``, ``task``."""


def page(gallery: list[Reply]) -> str:
    """The whole page."""
    environment = Environment(
        loader=FileSystemLoader(PARTS),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    parts = {path.name: path.read_text("utf-8") for path in (*PARTS.glob("*.css"), *PARTS.glob("*.js"))}
    data = {
        "tables": tables(),
        "template": BUILT_IN.read_text("utf-8"),
        "verdicts": {verdict.value: about for verdict, about in ABOUT.items()},
        "gallery": gallery,
    }
    return environment.get_template("page.html.jinja").render(parts=parts, data=data) + "\n"


def shipped_gallery() -> list[Reply]:
    return json.loads((PARTS / "gallery.json").read_text("utf-8"))


def gallery_of(folder: Path) -> list[Reply]:
    """Up to `PER_VERDICT` replies per verdict from lm-eval's samples: the models in turn, no deal twice.

    Raises:
        InputError: no samples below the folder, unreadable ones, or none of a task that asks for JSON.
    """
    found: dict[Verdict, dict[str, list[Reply]]] = {verdict: {} for verdict in ABOUT}
    for read in runs(folder, any_version=True):
        for verdict, reply in _short_replies(read()):
            found[verdict].setdefault(reply["model"], []).append(reply)
    if not any(found.values()):
        raise InputError(f"{folder}: no replies of at most {LONGEST_REPLY} characters that {STRICT} judges")
    return [reply for of_models in found.values() for reply in _picked(list(of_models.values()))]


def _short_replies(run: Run) -> Iterator[tuple[Verdict, Reply]]:
    model = model_name(str(run.results.get("model_name") or run.results["config"]["model"]))
    for dialogue in run.dialogues.get(STRICT, ()):
        deal, text = dialogue.deal, dialogue.deciding.text
        if len(text) <= LONGEST_REPLY and isinstance(deal.rule, Rule):  # the page plays with cards
            verdict = judge_reply(deal, text, STRICT).verdict
            about = {"cards": list(deal.cards), "rule": deal.rule._asdict(), "target": deal.target}
            yield verdict, about | {"reply": text, "verdict": verdict.value, "model": model, "task": run.task}


def _picked(of_models: list[list[Reply]]) -> list[Reply]:
    shuffled = [random.Random(0).sample(replies, len(replies)) for replies in of_models]
    by_hand: dict[str, Reply] = {}
    for reply in chain.from_iterable(zip_longest(*shuffled)):
        if reply is not None:
            by_hand.setdefault(" ".join(sorted(reply["cards"])), reply)
    return list(by_hand.values())[:PER_VERDICT]


def _lines(gallery: list[Reply]) -> str:
    """A JSON list with a line per reply."""
    return "[\n" + ",\n".join(map(json.dumps, gallery)) + "\n]\n"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("points24-play.html"),
        help="the page (default: points24-play.html); FILE.json writes the gallery alone",
    )
    parser.add_argument(
        "--samples",
        type=Path,
        metavar="DIR",
        help="a gallery from lm-eval's samples_*.jsonl below this folder",
    )
    parser.add_argument("--no-open", action="store_true", help="write the page without opening it")


def _run(args: argparse.Namespace) -> int:
    gallery = shipped_gallery() if args.samples is None else gallery_of(args.samples)
    is_page = args.output.suffix != ".json"
    try:
        write_text(args.output, page(gallery) if is_page else _lines(gallery))
    except OSError as e:
        raise InputError(f"{args.output}: {e.strerror or e}") from e
    print(args.output)
    if is_page and not args.no_open:
        webbrowser.open(args.output.resolve().as_uri())
    return 0


play = Command("a page to play on: deals, verdicts, and replies of models", _arguments, _run)
