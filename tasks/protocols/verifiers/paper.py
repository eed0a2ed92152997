"""The paper's verifier: what it finds in a reply, from which its messages and its rewards are added up.

It looks for syntax errors, numbers that are not on the cards or used too often, and numbers that are not
used. Only a formula without any of these is evaluated, in floats. One that misses the target is compared
with a list of solutions (`points24.tasks.protocols.verifiers.paper_solutions`): how many of its tokens begin
one? A formula that does not evaluate, but as a whole begins a solution, is "partial". So three things that a
reader may not expect are true of it, as of the reference:

- one formula can have several findings: the wrong rule's numbers are wrong and leave others unused;
- a right formula that floats reject has no finding if it is in the list (8/(3-8/3)), else "beginning";
- a "partial" formula has all four numbers: it lacks a closing parenthesis.

Source: `step_rewards` of the repository of arXiv:2508.16546, for text without images. Its result does not
depend on the random order of its list. Where it crashes (see `points24.tasks.paper_match`), the finding is
"illegal_characters".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from points24.tasks.cards import Deal
from points24.tasks.formula import FormulaError
from points24.tasks.paper_match import expression, extract_paper, syntax_errors, tokens
from points24.tasks.protocols.verifiers.paper_solutions import begins_solution
from points24.tasks.protocols.verifiers.verifier import CORRECT, Note, Verifier
from points24.tasks.verdict import PAPER as PAPER_MATCH
from points24.tasks.verdict import Judgement, equals_in_floats, judge

_NUMBERS = frozenset({"numbers"})
_FINDINGS = {
    "illegal_characters": frozenset(),
    "after_number": frozenset(),
    "after_operator": frozenset(),
    "before_open": frozenset(),
    "unmatched_close": frozenset(),
    "after_close": frozenset(),
    "invalid_numbers": _NUMBERS,
    "overused_numbers": _NUMBERS,
    "unused_numbers": _NUMBERS,
    CORRECT: frozenset(),
    "partial": frozenset(),
    "no_solution": frozenset(),
    "beginning": frozenset({"beginning"}),
}


def examine_formula(deal: Deal, formula: str | None) -> list[Note]:
    """What the verifier finds in a formula; None stands for a reply without one."""
    found = None if formula is None else tokens(formula)
    if found is None:
        return [Note("illegal_characters")]
    faults = [*map(Note, syntax_errors(found)), *_numbers(deal, found)]
    return faults or _value(deal, found)


def _numbers(deal: Deal, found: Sequence[str]) -> list[Note]:
    used = Counter(int(token) for token in found if token.isdecimal())
    cards = Counter(deal.values)
    invalid = [number for number in used if number not in cards]
    overused = [number for number in used if used[number] > cards[number]]
    unused = [number for number in cards if cards[number] > used[number]]
    notes = []
    if invalid:
        notes.append(Note("invalid_numbers", {"numbers": invalid}))
    elif overused:
        notes.append(Note("overused_numbers", {"numbers": overused}))
    if unused:
        notes.append(Note("unused_numbers", {"numbers": unused}))
    return notes


def _value(deal: Deal, found: list[str]) -> list[Note]:
    """The finding about a formula that has the right numbers and no syntax error."""
    beginnings = ["".join(found[:end]) for end in range(len(found) + 1)]
    try:
        tree = expression(found)
    except FormulaError:
        if begins_solution(deal, beginnings[-1]):
            return [Note("partial")]
    else:
        if equals_in_floats(tree, deal.target):
            return [Note(CORRECT)]
    for before, beginning in pairwise(beginnings):
        if not begins_solution(deal, beginning):
            return [Note("beginning", {"beginning": before}) if before else Note("no_solution")]
    return []


def _examine(deal: Deal, reply: object) -> tuple[list[Note], Judgement]:
    formula = extract_paper(reply) if isinstance(reply, str) else None
    return examine_formula(deal, formula), judge(deal, formula, PAPER_MATCH)


PAPER = Verifier(PAPER_MATCH, _FINDINGS, _examine)
