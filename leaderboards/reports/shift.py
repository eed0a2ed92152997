"""Shift records -> a section of a report: which quantity foretells the forgetting."""

from __future__ import annotations

from points24.harness.analysis.foretelling import Shifts, foretellings
from points24.harness.analysis.shift_summaries import foretelling_sentence, foretelling_table
from points24.leaderboards.render.tables import escape, markdown_table

_NOTES = (
    "Rank correlations (Spearman's), with 95 % intervals by a bootstrap over the runs; a run's own "
    "checkpoints count, not its parent. *Loss so far*: the best OOD accuracy up to a step less that at "
    "the step. *Loss to come*: the accuracy at the step less that at the final one. Whatever grows or "
    "falls steadily over training goes with both, so the step itself is the quantity to beat. *At equal"
    " steps*, runs are compared with each other at the same step: that alone tells whether a quantity "
    "foretells which run will lose more. *Turns by step*: the mean step from which on the 95 % interval"
    " over deals lies wholly on the worse side of the best checkpoint's, and the runs in which it does;"
    " OOD accuracy is judged in the same way. With few runs the intervals are rough, and none is "
    "adjusted for the number of quantities.",
    "All is teacher-forced, in nats. *Rule preference*: the log-probability of the reply that is right "
    "under the stated rule less that of the reply that is right under the memorised one, on the OOD "
    "deals that have both; *numbers* are the tokens of the reply's list of numbers (the reading of the "
    "cards), *formula* those of its formula (the search). A reply takes the first of the solver's "
    "solutions. The base's samples are drawn at temperature 1 with fixed seeds.",
)


def section(found: Shifts, figure: list[str]) -> list[str]:
    """The paragraphs of the section, with a figure; none where no run has records of several steps."""
    if not (rows := foretellings(found.runs)):
        return []
    table = foretelling_table(rows)
    return [
        "## Which number foretells the forgetting",
        escape(foretelling_sentence(rows, found.runs)),
        *figure,
        markdown_table(list(table[0]), [[escape(cell) for cell in row.values()] for row in table]),
        *_NOTES,
    ]
