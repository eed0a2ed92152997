"""Inspect: ``inspect eval points24/deals -T name=ood --model …``, or `verdict` to score one's own tasks.

Tested with inspect_ai 0.3.285, which this module needs.
"""

from __future__ import annotations

from inspect_ai import Task, task  # pyright: ignore[reportMissingImports]: the user's own
from inspect_ai.dataset import MemoryDataset, Sample  # pyright: ignore[reportMissingImports]: as above
from inspect_ai.scorer import (  # pyright: ignore[reportMissingImports]: as above
    Score,
    Scorer,
    Target,
    mean,
    scorer,
    stderr,
)
from inspect_ai.solver import TaskState, generate  # pyright: ignore[reportMissingImports]: as above

from points24.tasks.cards import parse_any_rule
from points24.tasks.hand_sets import hand_set
from points24.tasks.protocols.protocol import usual_protocol
from points24.tasks.rewards.reward import DEFAULT_EXTRACTION, columns_of, deal_in, judged, label_of
from points24.tasks.verdict import Verdict

_METRICS = [{verdict.value: [mean(), stderr()] for verdict in Verdict}]


@task
def deals(name: str = "ood", rule: str | None = None, extraction: str = DEFAULT_EXTRACTION) -> Task:
    """A hand set, one reply per deal.

    Args:
        name: a hand set.
        rule: another rule than the hand set's own.
        extraction: ``strict-match`` or ``flexible-extract``.
    """
    hands = hand_set(name, None if rule is None else parse_any_rule(rule))
    samples = [
        Sample(
            input=usual_protocol(deal.rule).prompt.render(deal),
            target=label_of(deal),
            id=place,
            metadata=columns_of(deal),
        )
        for place, deal in enumerate(hands.deals)
    ]
    return Task(
        dataset=MemoryDataset(samples, name=f"points24/{name}"),
        solver=generate(),
        scorer=verdict(extraction),
    )


@scorer(metrics=_METRICS)
def verdict(extraction: str = DEFAULT_EXTRACTION) -> Scorer:
    """The share of each verdict; ``correct`` is the accuracy. The sample's target is the deal as JSON."""

    async def score(state: TaskState, target: Target) -> Score:
        _, judgement = judged(deal_in(target.text), state.output.completion, extraction=extraction)
        return Score(
            value={each.value: float(each is judgement.verdict) for each in Verdict},
            answer=judgement.formula,
            explanation=f"{judgement.verdict.value}: {judgement.reason}",
            metadata={"verdict": judgement.verdict.value},
        )

    return score
