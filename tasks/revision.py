"""Which reply decides a dialogue of several attempts."""

from __future__ import annotations

from collections.abc import Sequence

from points24.tasks.verdict import Verdict


def deciding(verdicts: Sequence[str]) -> int:
    """Index of the reply that decides a dialogue: the first correct one, else the last.

    Args:
        verdicts: of each reply, at least one, by one extraction.
    """
    correct = (place for place, verdict in enumerate(verdicts) if verdict == Verdict.CORRECT)
    return next(correct, len(verdicts) - 1)
