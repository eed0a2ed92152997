"""How long a reward takes, through each adapter and beside what others do.

    python -m tests.benchmarks.rewards

Prints a Markdown table: microseconds per reply, each the median of many calls in this process. The two
alternatives find a formula by one regular expression and check neither cards nor grammar: `eval` in floats, as
the paper's verifier and TinyZero's countdown do, and sympy, as reasoning-gym's puzzle24 does. Its own scorer is
a row of the table of all benchmarks, where reasoning-gym is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import sympy
from tabulate import tabulate

from points24.rewards import openrlhf_reward, trl_reward, verl_compute_score
from points24.tasks.cards import RULES, Deal
from points24.tasks.prompts import json_reply
from points24.tasks.rewards.reward import columns_of, label_of
from points24.tasks.verdict import FLEXIBLE, judge_reply
from tests.benchmarks.table import Row, exponent

CASES = Path(__file__).parent.parent / "cases" / "reply_styles.jsonl"
ROUNDS = 400
BATCH = 8
"""Completions per prompt, as GRPO has."""

DEAL = Deal(("K", "5", "A", "2"), RULES["ood"])
LABEL = label_of(DEAL)
COLUMNS: dict[str, Any] = {name: [value] * BATCH for name, value in columns_of(DEAL).items()}
_FORMULA = re.compile(r'"formula"\s*:\s*"([^"=]*)|([-+*/()\d ]{5,})')


def by_trl(reply: str, extraction: str) -> None:
    trl_reward([""] * BATCH, [reply] * BATCH, extraction=extraction, **COLUMNS)


def by_verl(reply: str, extraction: str) -> None:
    verl_compute_score("points24", reply, LABEL, None, extraction=extraction)


def by_openrlhf(reply: str, extraction: str) -> None:
    openrlhf_reward(["?" + reply] * BATCH, ["?"] * BATCH, [LABEL] * BATCH, extraction=extraction)


def by_eval(reply: str) -> bool:
    found = _FORMULA.search(reply)
    try:
        value = eval(found[1] or found[2], {"__builtins__": None}) if found else None
    except Exception:
        return False
    return value is not None and abs(value - 24) < 1e-5


def by_sympy(reply: str) -> bool:
    found = _FORMULA.search(reply)
    try:
        value: Any = sympy.sympify(found[1] or found[2]) if found else None
        return int(value) == 24
    except Exception:
        return False


def microseconds(work: Callable[[], object], rounds: int, replies: int = 1) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - start)
    return median(times) / replies / 1e3


def timed(reply: str, rounds: int) -> dict[str, float]:
    """Microseconds per reply, by what pays it."""
    found = {}
    for extraction in ("strict-match", "flexible-extract"):
        for name, adapter, size in (
            ("trl", by_trl, BATCH),
            ("verl", by_verl, 1),
            ("openrlhf", by_openrlhf, BATCH),
        ):
            work = partial(adapter, reply, extraction)
            found[f"{name}, {extraction}"] = microseconds(work, rounds, size)
    found["eval in floats"] = microseconds(lambda: by_eval(reply), rounds)
    found["sympy"] = microseconds(lambda: by_sympy(reply), max(rounds // 10, 1))
    return found


def by_reasoning_gym() -> Callable[[str], object] | None:
    """Its scorer of formulas, which takes nothing but the formula; None where it is not installed."""
    if importlib.util.find_spec("reasoning_gym") is None:
        return None
    dataset = importlib.import_module("reasoning_gym").create_dataset("puzzle24", size=1, seed=0)
    entry = {"metadata": {"numbers": list(DEAL.values)}}
    return lambda formula: dataset.score_answer(formula, entry)


def rows() -> Iterator[Row]:
    reply = json_reply(DEAL, "13+5*2+1")

    def of_words(count: int) -> float:
        text = "13 + 5 is 18, hm. " * (count // 18) + reply
        return microseconds(lambda: judge_reply(DEAL, text, FLEXIBLE), 5)

    growth = exponent([10**3, 10**4, 10**5, 10**6], of_words)
    ours = microseconds(lambda: judge_reply(DEAL, reply, FLEXIBLE), ROUNDS)
    others: dict[str, Callable[[], object]] = {
        "eval in floats": lambda: by_eval(reply),
        "sympy": lambda: by_sympy(reply),
    }
    if score := by_reasoning_gym():
        others["reasoning-gym's scorer"] = lambda: score("13+5*2+1")
    for name, work in others.items():
        theirs = microseconds(work, ROUNDS // 10)
        yield Row("judge a reply", ours, name, theirs, "µs", "characters", growth)


def main() -> None:
    styles = [json.loads(line)["reply"] for line in CASES.read_text("utf-8").splitlines()]
    replies = {
        "the JSON asked for": json_reply(DEAL, "13+5*2+1"),
        "the same, but wrong": json_reply(DEAL, "13+5*2-1"),
        "a boxed formula": "So the formula is $\\boxed{13 + 5 \\times 2 + 1}$.",
    }
    columns = {about: timed(reply, ROUNDS) for about, reply in replies.items()}
    every = [timed(reply, 20) for reply in styles]
    about = f"{len(styles)} styles, median"
    columns[about] = {name: median(each[name] for each in every) for name in every[0]}
    names = list(columns[about])
    rows = [[name, *(f"{column[name]:.1f}" for column in columns.values())] for name in names]
    print("Microseconds per reply\n")
    print(tabulate(rows, ["", *columns], tablefmt="github", disable_numparse=True))
    asked = columns["the JSON asked for"]
    for other in ("eval in floats", "sympy"):
        ratio = asked["verl, flexible-extract"] / asked[other]
        print(f"\nverl, flexible-extract takes {ratio:.2f} times as long as {other} on the JSON asked for")


if __name__ == "__main__":
    main()
