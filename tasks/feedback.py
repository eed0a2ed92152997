"""Judgement -> what the verifier tells the model before its next attempt."""

from __future__ import annotations

import hashlib
import json

from points24.tasks.verdict import Judgement, Verdict

_MESSAGE = "Your formula is not correct: {why}. Reply again in the same form.\nReply:"
_WHY = {
    Verdict.WRONG_RULE: "it does not use the number of each card exactly once",
    Verdict.WRONG_VALUE: "it {reason}",
    Verdict.WRONG_NUMBERS: "it does not use the number of each card exactly once",
    Verdict.ILLEGAL: "{reason}",
    Verdict.NO_ANSWER: "{reason}",
}

DIGEST = hashlib.sha256(
    json.dumps([_MESSAGE, {v.value: why for v, why in _WHY.items()}]).encode()
).hexdigest()
"""SHA-256 of the wording, less the checker's own reasons. Another wording, or other reasons, is another
version of the revision tasks."""


def feedback(judgement: Judgement) -> str:
    """The verifier's message on a reply that was not correct.

    It says what is wrong with the formula, and not how it came about: that a formula would be right under
    another rule is for the analyst to know.
    """
    return _MESSAGE.format(why=_WHY[judgement.verdict].format(reason=judgement.reason))
