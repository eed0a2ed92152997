"""Judgement -> what the verifier tells the model before its next attempt."""

from __future__ import annotations

from points24.tasks.verdict import Judgement, Verdict

_WHY = {
    Verdict.WRONG_RULE: "it does not use the number of each card exactly once",
    Verdict.WRONG_VALUE: "it {reason}",
    Verdict.WRONG_NUMBERS: "it does not use the number of each card exactly once",
    Verdict.ILLEGAL: "{reason}",
    Verdict.NO_ANSWER: "{reason}",
}


def feedback(judgement: Judgement) -> str:
    """The verifier's message on a reply that was not correct.

    It says what is wrong with the formula, and not how it came about: that a formula would be right under
    another rule is for the analyst to know.
    """
    why = _WHY[judgement.verdict].format(reason=judgement.reason)
    return f"Your formula is not correct: {why}. Reply again in the same form.\nReply:"
