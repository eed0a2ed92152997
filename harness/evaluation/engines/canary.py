"""A canary: log-probabilities of fixed replies, by an engine and by the weights themselves.

A swap that went wrong raises no error: a tensor is missing, or an output layer stays the old one, and the
engine answers fluently as another model. So after every swap the engine is asked for the log-probabilities
of a few right replies, and transformers, given the very tensors, for the same. What an engine has cached of
prompts plays no part in that, and has to be dropped apart.
"""

from __future__ import annotations

import contextlib
import io

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from points24.harness.evaluation.engines.engine import EngineError
from points24.tasks.hand_sets import hand_set
from points24.tasks.prompts import json_reply, template
from points24.tasks.solver import solutions

DEALS = 2
"""Of each of `id` and `ood`."""
TOLERANCE = {"float32": 1e-4, "float": 1e-4}
OTHER_TOLERANCE = 0.02
"""Nats a character, by dtype: how far two exact implementations may be apart by rounding."""

Figures = tuple[list[float], list[float]]
"""By the engine, and by the weights' own: for each canary, the log-probability of its reply in nats."""


def log_probs(lm: LM) -> list[float]:
    """For each canary the log-probability of its reply, in nats, as lm-eval asks for it."""
    requests = [
        Instance("loglikelihood", {}, pair, number, metadata=("canary", number, 1))
        for number, pair in enumerate(_pairs())
    ]
    # vLLM shows progress bars of its own.
    with contextlib.redirect_stderr(io.StringIO()):
        return [total for total, _ in lm.loglikelihood(requests, disable_tqdm=True)]  # pyright: ignore[reportCallIssue]


def check(figures: Figures, before: Figures | None, dtype: str) -> None:
    """See that the engine's figures are the weights' own.

    Args:
        figures: now.
        before: with the weights that the engine held before; None if it held none.
        dtype: in which the engine computes.

    Raises:
        EngineError: they are not.
    """
    found, expected = figures
    allowed = TOLERANCE.get(dtype, OTHER_TOLERANCE)
    apart = [abs(a - b) / len(reply) for a, b, (_, reply) in zip(found, expected, _pairs(), strict=True)]
    if not all(each <= allowed for each in apart):  # NaN is not, either
        raise EngineError(
            f"canary: log-probabilities are up to {max(apart):.2g} nats a character off the weights' own "
            f"(allowed: {allowed:g})"
        )
    # Two checkpoints may be closer to each other than rounding allows for.
    if before is not None and expected != before[1] and found == before[0]:
        raise EngineError("canary: other weights, but the same log-probabilities as before")


def _pairs() -> list[tuple[str, str]]:
    """(prompt, right reply) of the first deals of each set."""
    return [
        (template().render(deal), json_reply(deal, solutions(deal.values, deal.target)[0]))
        for name in ("id", "ood")
        for deal in hand_set(name).deals[:DEALS]
    ]
