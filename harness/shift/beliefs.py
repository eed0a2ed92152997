"""What one model believes about the deals of one task: a value per deal of each quantity, and their means."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from points24.harness.analysis.statistics import (
    clustered_wilson,
    design_effect,
    t_interval,
)
from points24.harness.records.shift import Estimate
from points24.harness.shift.measures import brier, calibration_error
from points24.harness.shift.passes import Base, Passed, Tick, run
from points24.harness.shift.references import Asked, Tokens, prompt_text, right_reply, rival_reply, tokens
from points24.tasks.cards import Deal, hand_of

_PARTS = ("numbers", "formula")
_SHARES = ("rival_preferred", "rival_preferred_numbers")
_RESAMPLES = 400


@dataclass(frozen=True)
class Material:
    """A task's texts as tokens."""

    what: Asked
    deals: tuple[Deal, ...]
    """Those that have a right reply."""
    right: tuple[Tokens, ...]
    """The right reply of each."""
    rival: tuple[Tokens, ...]
    """The replies that are right under the rival rule."""
    with_rival: tuple[int, ...]
    """The places of the deals that these are for."""
    samples: tuple[Tokens, ...] = ()
    """The base's own reply to each deal, where there are any."""

    @property
    def sequences(self) -> list[Tokens]:
        return [*self.right, *self.rival, *self.samples]

    @property
    def prompts(self) -> list[tuple[int, ...]]:
        return [each.ids[: each.start] for each in self.right]

    def with_samples(self, replies: Sequence[Sequence[int]]) -> Material:
        """With the base's samples, as tokens that follow each prompt."""
        made = (
            Tokens(each.name, (*each.ids[: each.start], *reply), each.start)
            for each, reply in zip(self.right, replies, strict=True)
        )
        return replace(self, samples=tuple(made))


def material(what: Asked, tokenizer: Any, note: Callable[[str], object] = lambda _: None) -> Material:
    """The texts of a task.

    Args:
        what: the task.
        tokenizer: the base's, which every checkpoint shares.
        note: is told in one line which deals lack a reply.
    """
    deals, right, rival, with_rival = [], [], [], []
    unsolved, unmatched = [], []
    for deal in what.deals:
        prompt, reply = prompt_text(deal, what, tokenizer), right_reply(deal)
        if reply is None:
            unsolved.append(deal)
            continue
        other = rival_reply(deal, what.rival)
        if other is not None:
            with_rival.append(len(deals))
            rival.append(tokens(deal, prompt, other, tokenizer))
        elif deal.under(what.rival).values != deal.values:
            unmatched.append(deal)
        deals.append(deal)
        right.append(tokens(deal, prompt, reply, tokenizer))
    for found, rule, effect in (
        (unsolved, what.hands.rule, "left out"),
        (unmatched, what.rival, "left out of the rule preference"),
    ):
        if found:
            first = " ".join(found[0].cards)
            of = f"{len(found)} of {len(what.deals)} deals"
            note(f"{what.task}: {of} have no right reply under rule {rule.name} ({first}, …): {effect}")
    return Material(what, tuple(deals), tuple(right), tuple(rival), tuple(with_rival))


@dataclass(frozen=True)
class Beliefs:
    """What passes over a task's texts gave."""

    values: dict[str, Tensor]
    """Name in `MEASURES` -> value per deal, (deals,) or, where a rival reply is needed, of those deals."""
    states: tuple[Tensor, ...]
    base_states: tuple[Tensor, ...]
    hands: tuple[Hashable, ...]
    with_rival: tuple[int, ...]

    def estimates(self) -> dict[str, Estimate]:
        """The means over deals, with 95 % intervals that allow for hands that come twice.

        Student's interval for a mean, Wilson's for a share, percentiles of a bootstrap over deals for the
        calibration error.
        """
        found = {}
        for name, values in self.values.items():
            hands = self.hands if len(values) == len(self.hands) else [self.hands[i] for i in self.with_rival]
            found[name] = _estimate(name, values.tolist(), hands)
        if "preference" in self.values:
            found["calibration_error"] = _calibration(self.values["preference"])
        return found


def beliefs(
    model: Any, texts: Material, *, batch_size: int, base: Base | None = None, tick: Tick = lambda _: None
) -> Beliefs:
    """Pass a task's texts through a model.

    Args:
        model: the checkpoint.
        texts: those of the task.
        batch_size: sequences per pass.
        base: what it is compared with; None leaves out what needs it: divergences, overlap, states.
        tick: see `run`.

    Raises:
        InputError: see `run`.
    """
    right = run(model, texts.right, batch_size=batch_size, base=base, tick=tick)
    values = _losses(right, "")
    values["entropy_reference"] = right.mean("entropy")
    if base is not None:
        values |= _divergences(right, "reference")
    if texts.rival:
        rival = run(model, texts.rival, batch_size=batch_size, tick=tick)
        values |= _losses(rival, "_rival") | _preferences(right, rival, list(texts.with_rival))
    if base is not None and texts.samples:
        own = run(model, texts.samples, batch_size=batch_size, base=base, tick=tick)
        values["entropy_samples"] = own.mean("entropy")
        values |= _divergences(own, "samples")
    hands = tuple(hand_of(deal.cards) for deal in texts.deals)
    return Beliefs(values, right.states, right.base_states, hands, texts.with_rival)


def _losses(passed: Passed, end: str) -> dict[str, Tensor]:
    parts = {f"nll_{part}{end}": passed.mean(f"nll_{part}", part) for part in _PARTS}
    return {f"nll{end}": passed.mean("nll")} | parts


def _preferences(right: Passed, rival: Passed, places: list[int]) -> dict[str, Tensor]:
    found = {
        f"preference{end}": rival.sums[f"nll{end}"] - right.sums[f"nll{end}"][places]
        for end in ("", *(f"_{part}" for part in _PARTS))
    }
    return found | {
        "rival_preferred": (found["preference"] < 0).double(),
        "rival_preferred_numbers": (found["preference_numbers"] < 0).double(),
        "brier": brier(found["preference"]),
    }


def _divergences(passed: Passed, text: str) -> dict[str, Tensor]:
    return {f"{name}_{text}": passed.mean(name) for name in ("kl", "reverse_kl", "overlap")}


def _estimate(name: str, values: list[float], hands: Sequence[Hashable]) -> Estimate:
    n = len(values)
    if name in _SHARES:
        outcomes = [int(value) for value in values]
        return Estimate(sum(outcomes) / n, *clustered_wilson(outcomes, hands), n)
    mean, interval = float(np.mean(values)), t_interval(values)
    if interval is None:
        return Estimate(mean, None, None, n)
    half = (interval.high - interval.low) / 2 * sqrt(design_effect(values, hands))
    return Estimate(mean, mean - half, mean + half, n)


def _calibration(preference: Tensor) -> Estimate:
    rng, n = np.random.default_rng(0), len(preference)
    drawn = [
        calibration_error(preference[torch.from_numpy(rng.integers(0, n, n))]) for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(calibration_error(preference), float(low), float(high), n)
