"""The revision protocol: several attempts at a deal, with the verifier's message after each that fails.

The same in evaluation (`points24.tasks.lm_eval.revise`) and in training (`points24.trainers.ppo`). The
verifier reads the reply format that the prompt asks for and nothing else (``strict-match``): a dialogue
takes the same course whichever filter scores it.
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
    """Judge a reply, and say what the model is told before its next attempt.

    Returns:
        The judgement, and the message; None where the reply is correct and the dialogue over.
    """
    judgement = judge_reply(deal, reply, STRICT)
    return judgement, None if judgement.verdict is Verdict.CORRECT else feedback(judgement)


def deciding(verdicts: Sequence[str]) -> int:
    """Index of the reply by which a dialogue is judged: the first correct one, else the last.

    Args:
        verdicts: of each reply, by one extraction; at least one.
    """
    correct = (place for place, verdict in enumerate(verdicts) if verdict == Verdict.CORRECT)
    return next(correct, len(verdicts) - 1)
