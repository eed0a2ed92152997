"""Judgement -> the verifier's message to the model before its next attempt."""

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
"""SHA-256 of the wording, without the checker's reasons. A change in either needs a new version of the
revision tasks."""


def feedback(judgement: Judgement) -> str:
    """The verifier's message about an incorrect reply.

    It says what is wrong with the formula, but not that the formula would be right under another rule: that
    would reveal the analysis to the model.
    """
    return _MESSAGE.format(why=_WHY[judgement.verdict].format(reason=judgement.reason))
