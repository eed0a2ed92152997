"""What is measured at each token and over each deal: pure functions of tensors, in double precision.

Log-probabilities are natural, (tokens, vocabulary): row i is the distribution from which token i is drawn.
Every result is (tokens,), in nats where it has a unit.
"""

from __future__ import annotations

import torch
from torch import Tensor

TOP = 5
"""How many of the base's most likely tokens are compared."""
BINS = 10


def token_nll(log_probs: Tensor, tokens: Tensor) -> Tensor:
    """−log p(token): how surprised the model is."""
    return -log_probs.gather(1, tokens[:, None]).squeeze(1)


def entropy(log_probs: Tensor) -> Tensor:
    """−Σ p log p over the vocabulary: 0 … log(vocabulary)."""
    return -_weighted(log_probs, log_probs)


def kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p ‖ q) = Σ p (log p − log q) over the whole vocabulary, at least 0; both are log-probabilities.

    With p the base and q the checkpoint it is the forward KL of RL's Razor (arXiv:2509.04259), which there
    foretells forgetting when it is measured on the new task.
    """
    return _weighted(p, p - q)


def top_overlap(p: Tensor, q: Tensor, k: int = TOP) -> Tensor:
    """The share of the k most likely tokens of p that are among those of q, 0 … 1."""
    k = min(k, p.shape[1])
    ours, theirs = p.topk(k).indices, q.topk(k).indices
    return (ours[:, :, None] == theirs[:, None, :]).any(2).double().mean(1)


def brier(preference: Tensor) -> Tensor:
    """(1 − p)² with p = σ(preference), the probability of the right one of two replies (Brier 1950)."""
    return torch.sigmoid(-preference).square()


def calibration_error(preference: Tensor, bins: int = BINS) -> float:
    """Expected calibration error of the choice between two replies, 0 … 1 (Guo et al., arXiv:1706.04599).

    On each deal the model chooses the likelier reply with confidence c = σ(|preference|), and is right if
    that is the one under the stated rule. Over bins of equal width in c, with n of N deals each:
    Σ n/N · |share that is right − mean confidence|.
    """
    confidence, right = torch.sigmoid(preference.abs()), (preference > 0).double()
    # Confidence in the likelier of two is at least a half.
    place = ((confidence - 0.5) * 2 * bins).long().clamp(0, bins - 1)
    gaps = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, right - confidence)
    return (gaps.abs().sum() / len(preference)).item()


def _weighted(log_weights: Tensor, values: Tensor) -> Tensor:
    """Σ exp(log weight) · value; an impossible token (−inf) counts for nothing."""
    return (log_weights.exp() * values).masked_fill(log_weights == -torch.inf, 0).sum(1)
