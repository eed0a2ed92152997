"""A canary: log-probabilities of fixed replies, by an engine and by transformers with the same weights.

A failed swap raises no error: a tensor may be missing, or the old output layer may stay, and the engine
answers fluently as another model. So after every swap the engine and transformers both compute the
log-probabilities of a few right replies. This does not test the engine's prefix cache, which must be dropped
separately.
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
"""How many of each of `id` and `ood`."""
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.02, "float16": 0.02}
"""Nats per character, by dtype: how far rounding may separate two correct implementations."""

Figures = tuple[list[float], list[float]]
"""The log-probability of each canary's reply, in nats: by the engine, and by transformers."""


def log_probs(lm: LM) -> list[float]:
    """The log-probability of each canary's reply, in nats."""
    requests = [
        Instance("loglikelihood", {}, pair, number, metadata=("canary", number, 1))
        for number, pair in enumerate(_pairs())
    ]
    # vLLM prints progress bars of its own.
    with contextlib.redirect_stderr(io.StringIO()):
        return [total for total, _ in lm.loglikelihood(requests, disable_tqdm=True)]  # pyright: ignore[reportCallIssue]  a decorator hides the argument


def check(figures: Figures, before: Figures | None, dtype: str) -> None:
    """Check that the engine holds the weights.

    Args:
        figures: for the present weights.
        before: for the weights that the engine held before; None if it held none.
        dtype: in which the engine computes.

    Raises:
        EngineError: its figures are not those of transformers.
    """
    found, expected = figures
    allowed = TOLERANCE[dtype]
    apart = [abs(a - b) / len(reply) for a, b, (_, reply) in zip(found, expected, _pairs(), strict=True)]
    if not all(each <= allowed for each in apart):  # false for NaN as well
        raise EngineError(
            f"canary: log-probabilities are up to {max(apart):.2g} nats per character off the weights' own "
            f"(allowed: {allowed:g})"
        )
    # Two checkpoints may differ by less than the tolerance, so an unchanged figure is an error of its own.
    if before is not None and expected != before[1] and found == before[0]:
        raise EngineError("canary: other weights, but the same log-probabilities as before")


def _pairs() -> list[tuple[str, str]]:
    """(prompt, right reply) of the first deals of each set."""
    return [
        (template().render(deal), json_reply(deal, solutions(deal.values, deal.target)[0]))
        for name in ("id", "ood")
        for deal in hand_set(name).deals[:DEALS]
    ]
