"""Proximal policy optimisation in pure functions on tensors (Schulman et al. 2017, arXiv:1707.06347).

Shapes are (episodes, tokens) throughout; the tokens are those after the prompt. `mask` is true where the
policy chose the token. It is false in the verifier's messages and in padding, which affect nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Discounts(NamedTuple):
    """How much later rewards count, each 0 … 1.

    Attributes:
        gamma: discount from one chosen token to the next within a turn.
        lam: decay of the estimates within a turn.
        turn_gamma: discount from the last token of a turn to the first of the next.
        turn_lam: decay of the estimates between turns.
    """

    gamma: float
    lam: float
    turn_gamma: float
    turn_lam: float


class PolicyLoss(NamedTuple):
    """Per token; meaningless where the mask is false.

    Attributes:
        loss: the clipped surrogate to minimise.
        clipped: 1 where the clip removes the gradient, else 0.
        log_ratio: log of the new probability over the old.
    """

    loss: Tensor
    clipped: Tensor
    log_ratio: Tensor


def gae(rewards: Tensor, values: Tensor, mask: Tensor, turn_ends: Tensor, discounts: Discounts) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, arXiv:1506.02438, equation 16).

    Messages between turns are skipped. The value after the last chosen token is 0, since every episode ends.

    Args:
        rewards: of each token, 0 where the mask is false.
        values: the critic's value of the state in which each token was chosen.
        mask: the policy's tokens.
        turn_ends: true at the last token of each turn.
        discounts: within turns and between them.

    Returns:
        The advantages, 0 where the mask is false.
    """
    discount = torch.full_like(values, discounts.gamma).masked_fill(turn_ends, discounts.turn_gamma)
    decay = torch.full_like(values, discounts.lam).masked_fill(turn_ends, discounts.turn_lam)
    advantages = torch.zeros_like(values)
    next_value = next_advantage = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + discount[:, t] * next_value - values[:, t]
        advantage = delta + discount[:, t] * decay[:, t] * next_advantage
        chosen = mask[:, t]
        advantages[:, t] = torch.where(chosen, advantage, 0.0)
        next_advantage = torch.where(chosen, advantage, next_advantage)
        next_value = torch.where(chosen, values[:, t], next_value)
    return advantages


def policy_loss(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip: float) -> PolicyLoss:
    """The clipped surrogate (arXiv:1707.06347, equation 7), negated, with one ratio per token.

    Args:
        log_probs: of the chosen tokens under the policy that is trained.
        old_log_probs: of the same tokens under the policy that chose them.
        advantages: from `gae`, whitened or not.
        clip: how far the ratio may move from 1; infinity never clips.
    """
    log_ratio = log_probs - old_log_probs
    ratio = log_ratio.exp()
    free = -advantages * ratio
    held = -advantages * ratio.clamp(1 - clip, 1 + clip)
    return PolicyLoss(torch.maximum(free, held), (held > free).to(free.dtype), log_ratio)


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Half the squared error per token: the larger of the errors of the value and of the clipped value.

    Args:
        values: the critic's values now.
        old_values: its values when the tokens were chosen.
        returns: the targets, advantages + old values.
        clip: how far a value may move from the old one; infinity never clips.
    """
    held = old_values + (values - old_values).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns) ** 2, (held - returns) ** 2)


def kl_shaped(rewards: Tensor, log_probs: Tensor, ref_log_probs: Tensor, mask: Tensor, beta: float) -> Tensor:
    """Rewards minus `beta` times each token's log-ratio to the reference (arXiv:1909.08593, equation 2).

    In expectation over the policy the log-ratio is the Kullback-Leibler divergence, in nats.
    """
    return rewards - beta * (log_probs - ref_log_probs) * mask


def whiten(x: Tensor, mask: Tensor, total: Callable[[Tensor], Tensor] = lambda sums: sums) -> Tensor:
    """Shift and scale to mean 0 and variance 1 over the mask; 0 elsewhere.

    Args:
        x: what to whiten.
        mask: the policy's tokens.
        total: sums a tensor over all processes, so that they share one mean and variance.
    """
    n, x_sum = total(torch.stack([mask.sum().to(x), (x * mask).sum()]))
    centred = (x - x_sum / n) * mask
    variance = (total((centred**2).sum()) / n).clamp(min=1e-8)
    return centred * variance.rsqrt()


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """1 − Var(returns − values) / Var(returns) over the mask; nan if all returns are equal."""
    wanted = returns[mask]
    variance, missed = wanted.var(correction=0), (wanted - values[mask]).var(correction=0)
    return torch.where(variance > 0, 1 - missed / variance, torch.nan)
