"""How fast the game is: solving, judging, and hostile replies.

    python -m tests.benchmarks.game

Prints Markdown tables. Everything is measured in this process, without a warm cache for the solver.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from statistics import median

from tabulate import tabulate

from points24.tasks import solver
from points24.tasks.cards import RULES, Deal, all_hands
from points24.tasks.prompts import json_reply
from points24.tasks.replies import is_truncated
from points24.tasks.verdict import FILTERS, judge_reply
from tests.benchmarks.table import Row, exponent
from tests.tasks.brute_force import reaches

DEAL = Deal(("K", "5", "A", "2"), RULES["ood"])
HOSTILE = {
    "unclosed thinking": "<think>",
    "closed thinking": "<think></think>",
    "stray </think>": "</think>",
    "nested JSON": '{"a":',
    "nested lists": "[",
    "nested brackets": "(",
    "boxes": "\\boxed{",
    'unclosed "formula"': '"formula": "',
    "fractions": "\\frac{",
    "sums": "1+",
    "digits": "9",
    "powers": "9**",
    "one long word": "a",
    "numbers": "1 1 ",
    "lines": "\n- ",
    "blanks": " ",
    "fullwidth digits": "１",
}


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def solve_everything() -> None:
    for rule in RULES.values():
        for hand in all_hands():
            solver.solvable(Deal(hand, rule).values, 24)


def rows() -> Iterator[Row]:
    hands = [Deal(hand, RULES["ood"]).values for hand in all_hands()]

    def ours(count: int) -> float:
        solver._reachable.cache_clear()
        return seconds(lambda: [solver.solvable(hand, 24) for hand in hands[:: len(hands) // count]])

    sample = hands[::20]
    theirs = seconds(lambda: [reaches(list(map(Fraction, hand)), 24) for hand in sample])
    growth = exponent([len(hands) // 8, len(hands) // 4, len(hands) // 2, len(hands)], ours)
    yield Row(
        f"which of {len(sample)} hands are solvable",
        ours(len(sample)),
        "brute force",
        theirs,
        "s",
        "hands",
        growth,
    )


def list_every_solution() -> None:
    for rule in RULES.values():
        for hand in all_hands():
            solver.solutions(Deal(hand, rule).values, 24)


def judging_table() -> str:
    replies = {
        "the JSON asked for": json_reply(DEAL, "13+5*2+1"),
        "a bare formula": "13+5*2+1",
        "prose": "We have 13, 5, 1 and 2.\n5*2 = 10, and 13+10+1 = 24, so **13+5*2+1 = 24**.",
        "2,000 words of thinking": "<think>"
        + "13 + 5 is 18, hm. " * 400
        + "</think>"
        + json_reply(DEAL, "13+5*2+1"),
    }
    rows = []
    for about, reply in replies.items():
        row: list[str] = [about]
        for extraction in FILTERS:
            times = [seconds(partial(judge_reply, DEAL, reply, extraction)) for _ in range(5000)]
            row.append(f"{1e6 * median(times):.1f}")
        rows.append(row)
    return tabulate(
        rows, ["reply", *(f"{extraction}, µs (median of 5,000)" for extraction in FILTERS)], tablefmt="github"
    )


def hostile_table() -> str:
    rows = []
    for about, piece in HOSTILE.items():
        row: list[str] = [about]
        for length in (10**5, 10**6, 10**7):
            text = (piece * (length // len(piece) + 1))[:length]
            worst = max(seconds(partial(judge_reply, DEAL, text, extraction)) for extraction in FILTERS)
            row.append(f"{1e3 * (worst + seconds(partial(is_truncated, text))):.1f}")
        rows.append(row)
    return tabulate(rows, ["reply made of", "100 KB, ms", "1 MB, ms", "10 MB, ms"], tablefmt="github")


def main() -> None:
    print(f"Enumerate and solve 1,820 hands under both rules: {seconds(solve_everything):.2f} s")
    print(f"List every solution of each after that: {seconds(list_every_solution):.2f} s\n")
    print("Judging one reply, extraction included\n")
    print(judging_table())
    print("\nHostile replies: the slower extraction, plus the check for truncation\n")
    print(hostile_table())


if __name__ == "__main__":
    main()
