"""``points24 solve``, ``check`` and ``deals``: the game on the command line."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import jsonlines

from points24.harness.cli import Command
from points24.harness.files import replacing
from points24.tasks.cards import TARGET, Deal, parse_any_rule, parse_cards
from points24.tasks.errors import InputError
from points24.tasks.hand_sets import HAND_SETS, hand_set
from points24.tasks.rewards.reward import columns_of
from points24.tasks.rewards.rows import FORMATS, plain
from points24.tasks.solver import solutions
from points24.tasks.verdict import EXTRACTIONS, STRICT, Judgement, Verdict, judge, judge_reply

_ROW_KEYS = {"cards", "rule", "target", "answer"}


def _rule_arguments(
    parser: argparse.ArgumentParser, rule: str | None = "id", target: int | None = TARGET
) -> None:
    parser.add_argument(
        "--rule", default=rule, help="id (J=Q=K=10), ood (J=11,Q=12,K=13), J=5,Q=7,K=9, or numbers (no cards)"
    )
    parser.add_argument("--target", type=int, default=target, help="the number to reach (default: 24)")


def _solve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "cards", nargs="+", help="ranks, A 2 … 10 J Q K; or 3 to 6 numbers with --rule numbers"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a formula per line")
    _rule_arguments(parser)


def _solve(args: argparse.Namespace) -> int:
    deal = Deal(parse_cards(" ".join(args.cards)), parse_any_rule(args.rule), args.target)
    formulas = solutions(deal.values, deal.target)
    if args.json:
        print(json.dumps(columns_of(deal) | {"solutions": formulas}))
    elif formulas:
        print("\n".join(formulas))
    else:
        print(f"no formula of {' '.join(map(str, deal.values))} equals {deal.target}", file=sys.stderr)
    return 0


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("answer", nargs="?", help="a formula, or a whole reply")
    parser.add_argument("--cards", help='the ranks, as in "K 5 A 2"')
    parser.add_argument(
        "--batch",
        metavar="FILE.jsonl",
        help='rows {"cards": [...], "rule": ..., "target": ..., "answer": ...}; - for standard input; '
        "--json prints other keys back",
    )
    parser.add_argument(
        "--filter",
        choices=tuple(EXTRACTIONS),
        default=STRICT,
        help="strict-match (default): a formula, or the JSON reply that the prompt asks for; "
        "flexible-extract: the last formula of any text; paper-match: what the paper's verifier reads",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per row")
    _rule_arguments(parser)


def _check(args: argparse.Namespace) -> int:
    if args.batch is None:
        if args.cards is None or args.answer is None:
            raise InputError("expected --cards and an answer, or --batch FILE.jsonl")
        deal = Deal(parse_cards(args.cards), parse_any_rule(args.rule), args.target)
        _print_judgement(deal, _explained(deal, args.answer, args.filter), args.json, {})
        return 0
    if args.cards is not None or args.answer is not None:
        raise InputError("--batch takes cards and answers from its rows, not from the command line")
    counts: Counter[str] = Counter()
    for deal, row in _rows(args):
        judgement = _explained(deal, row["answer"], args.filter)
        counts[judgement.verdict.value] += 1
        others = {key: value for key, value in row.items() if key not in _ROW_KEYS}
        _print_judgement(deal, judgement, args.json, others)
    shown = ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common())
    print(f"{counts.total()} answers: {shown}", file=sys.stderr)
    return 0


def judge_answer(deal: Deal, answer: object, extraction: str) -> Judgement:
    """Judge a bare formula or a whole reply.

    Under strict-match a text that starts with a brace is a reply; any other text is a formula.
    """
    if extraction == STRICT and isinstance(answer, str) and not answer.lstrip().startswith("{"):
        return judge(deal, answer if answer.strip() else None, extraction)
    return judge_reply(deal, answer, extraction)


def _explained(deal: Deal, answer: object, extraction: str) -> Judgement:
    """As `judge_answer`; the reason names the keys that an object lacks."""
    judgement = judge_answer(deal, answer, extraction)
    if judgement.verdict is not Verdict.NO_ANSWER or extraction != STRICT or not isinstance(answer, str):
        return judgement
    try:
        reply = json.loads(answer)
    except (ValueError, RecursionError):
        return judgement
    needed = [key for key in ("cards", "number", "numbers", "formula") if key in deal.rule.reply_keys]
    missing = [key for key in needed if isinstance(reply, dict) and key not in reply]
    if not missing:
        return judgement
    reason = f"{STRICT} needs the keys {', '.join(needed)}; missing: {', '.join(missing)}"
    return judgement._replace(reason=reason)


def _rows(args: argparse.Namespace) -> Iterator[tuple[Deal, dict[str, Any]]]:
    with _opened(args.batch) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = _read_row(line)
                rule = parse_any_rule(str(row.get("rule", args.rule)))
                deal = Deal(parse_cards(row["cards"]), rule, row.get("target", args.target))
            except InputError as e:
                raise InputError(f"{args.batch}, row {number}: {e}") from e
            yield deal, row


def _read_row(line: str) -> dict[str, Any]:
    try:
        # A number of thousands of digits is a legal answer, but Python refuses to read it as an int.
        row = json.loads(line, parse_int=lambda digits: int(digits) if len(digits) < 20 else float(digits))
    except ValueError as e:
        raise InputError(f"not JSON: {e}") from e
    except RecursionError as e:
        raise InputError("nested too deeply") from e
    if not isinstance(row, dict):
        raise InputError(f"expected an object, found {type(row).__name__}")
    if missing := sorted({"cards", "answer"} - row.keys()):
        raise InputError(f"missing key {', '.join(missing)}")
    if not isinstance(row["cards"], (str, list)):
        raise InputError(f"cards: expected a list of ranks, found {row['cards']!r}")
    return row


def _print_judgement(deal: Deal, judgement: Judgement, as_json: bool, others: dict[str, Any]) -> None:
    verdict, reason = judgement.verdict.value, judgement.reason
    if as_json:
        judged = {"verdict": verdict, "formula": judgement.formula, "reason": reason}
        print(json.dumps(others | columns_of(deal) | judged))
    else:
        # The reason may quote any character, such as a lone surrogate or a line break.
        print(f"{verdict}: {reason}".encode("unicode_escape").decode("ascii"))


def _deals_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="a hand set; omit it to list them all")
    parser.add_argument(
        "--format",
        choices=("jsonl", "parquet", *FORMATS),
        help="rows with every solution, as JSONL or Parquet; or the rows of a trainer, for the rewards in "
        "points24.rewards (default: by the name of the file)",
    )
    parser.add_argument("-o", "--output", type=Path, help="FILE.jsonl or FILE.parquet; else standard output")
    _rule_arguments(parser, None, None)


def _deals(args: argparse.Namespace) -> int:
    rule = None if args.rule is None else parse_any_rule(args.rule)
    if args.name is None:
        for name, about in HAND_SETS.items():
            hands = hand_set(name)
            print(f"{name:11} {len(hands):5} deals  sha256 {hands.digest[:12]}  {about}")
        return 0
    is_parquet = _is_parquet(args.format, args.output)
    hands = hand_set(args.name, rule, args.target)
    row = FORMATS.get(args.format, plain)
    rows = [row(hands, place) for place in range(len(hands))]
    if args.output is None:
        jsonlines.Writer(sys.stdout).write_all(rows)
        return 0
    try:
        with replacing(args.output) as partial:
            if is_parquet:
                from datasets import Dataset

                Dataset.from_list(rows).to_parquet(partial)
            else:
                with jsonlines.open(partial, "w") as writer:
                    writer.write_all(rows)
    except OSError as e:
        raise InputError(f"{args.output}: {e.strerror or e}") from e
    return 0


def _is_parquet(form: str | None, output: Path | None) -> bool:
    """Whether to write Parquet: the file's name decides where the format does not."""
    if output is None:
        if form == "parquet":
            raise InputError("parquet is binary: name a file with -o")
        return False
    named = output.suffix == ".parquet"
    if (form == "jsonl" and named) or (form == "parquet" and not named):
        raise InputError(f"{output}: --format {form} writes .{form} files")
    return named


def _opened(path: str) -> contextlib.AbstractContextManager[IO[str]]:
    if path == "-":
        return contextlib.nullcontext(sys.stdin)
    try:
        # A model's text need not be valid UTF-8; the answer is judged with replacement characters.
        return Path(path).open(encoding="utf-8", errors="replace")
    except OSError as e:
        raise InputError(f"{path}: {e.strerror}") from e


solve = Command("print every solution of a deal", _solve_arguments, _solve)
check = Command("judge answers exactly", _check_arguments, _check)
deals = Command("print a hand set, with its solutions or as rows for a trainer", _deals_arguments, _deals)
