"""The verifier of the protocol `points24`: the verdict under ``strict-match`` is its one finding."""

from __future__ import annotations

from points24.tasks.cards import Deal
from points24.tasks.protocols.verifiers.verifier import Note, Verifier
from points24.tasks.verdict import STRICT, Judgement, Verdict, judge_reply


def _examine(deal: Deal, reply: object) -> tuple[list[Note], Judgement]:
    judgement = judge_reply(deal, reply, STRICT)
    return [Note(judgement.verdict.value, {"reason": judgement.reason})], judgement


VERDICT = Verifier(STRICT, {verdict.value: frozenset({"reason"}) for verdict in Verdict}, _examine)
