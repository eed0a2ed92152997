"""The revision protocol: several attempts at a deal, with a message from the verifier after each failure.

Evaluation (`points24.tasks.lm_eval.revise`) and training (`points24.trainers.ppo`) share it. The verifier
always judges by ``strict-match``, so a dialogue takes the same course whichever filter scores it.
"""

from __future__ import annotations

from collections.abc import Sequence

from points24.tasks.cards import Deal
from points24.tasks.feedback import feedback
from points24.tasks.verdict import STRICT, Judgement, Verdict, judge_reply

ATTEMPTS = 5
"""As in the paper."""
MAX_ATTEMPTS = 20


def verify(deal: Deal, reply: object) -> tuple[Judgement, str | None]:
    """Judge a reply, and write the message for the next attempt: None if the reply is correct."""
    judgement = judge_reply(deal, reply, STRICT)
    return judgement, None if judgement.verdict is Verdict.CORRECT else feedback(judgement)


def deciding(verdicts: Sequence[str]) -> int:
    """Index of the reply that decides a dialogue: the first correct one, else the last.

    Args:
        verdicts: of each reply, at least one, by one extraction.
    """
    correct = (place for place, verdict in enumerate(verdicts) if verdict == Verdict.CORRECT)
    return next(correct, len(verdicts) - 1)
