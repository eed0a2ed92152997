"""Episodes: deals as PPO played them, and as the tensors that it learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from trl.trainer.utils import pad

from points24.tasks.cards import Deal
from points24.tasks.verdict import Verdict


@dataclass
class Episode:
    """One deal as it was played.

    Attributes:
        tokens: everything after the prompt.
        chosen: 1 where the policy chose the token, 0 where it is part of a verifier's message.
        log_probs: the sampler's, 0 in messages; empty if the sampler gives none.
        turn_ends: position of the last token of each reply.
        verdicts: of each reply.
        rewards: of each reply.
    """

    deal: Deal
    prompt: list[int]
    tokens: list[int] = field(default_factory=list)
    chosen: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    turn_ends: list[int] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)

    def add_reply(
        self, tokens: list[int], log_probs: list[float] | None, verdict: Verdict, reward: float
    ) -> None:
        self._append(tokens, 1, log_probs or [])
        self.turn_ends.append(len(self.tokens) - 1)
        self.verdicts.append(verdict)
        self.rewards.append(reward)

    def add_message(self, tokens: list[int]) -> None:
        self._append(tokens, 0, [0.0] * len(tokens) if self.log_probs else [])

    def _append(self, tokens: list[int], chosen: int, log_probs: list[float]) -> None:
        self.tokens += tokens
        self.chosen += [chosen] * len(tokens)
        self.log_probs += log_probs


def collate(episodes: Sequence[Episode], pad_token: Any, device: torch.device) -> dict[str, Tensor]:
    """Token ids and masks, a row per episode: prompts padded on the left, what follows on the right.

    ``completion_mask`` is 1 at every token that is no padding, ``mask`` true where the policy chose it.
    """
    prompts, replies = [e.prompt for e in episodes], [e.tokens for e in episodes]
    return {
        "prompt_ids": padded(prompts, "left", pad_token, device),
        "prompt_mask": padded([[1] * len(row) for row in prompts], "left", 0, device),
        "completion_ids": padded(replies, "right", pad_token, device),
        "completion_mask": padded([[1] * len(row) for row in replies], "right", 0, device),
        "mask": padded([e.chosen for e in episodes], "right", 0, device).bool(),
    }


def reward_tensors(episodes: Sequence[Episode], mask: Tensor) -> tuple[Tensor, Tensor]:
    """The rewards, each at the last token of its reply, and a mask of these tokens; shaped like `mask`."""
    earned = torch.zeros(mask.shape, device=mask.device)
    turn_ends = torch.zeros_like(mask)
    for row, episode in enumerate(episodes):
        earned[row, episode.turn_ends] = torch.tensor(episode.rewards, device=mask.device)
        turn_ends[row, episode.turn_ends] = True
    return earned, turn_ends


def padded(rows: Sequence[Sequence[float]], side: str, filler: Any, device: torch.device) -> Tensor:
    """The rows as one tensor, padded on the ``left`` or the ``right``."""
    return pad([torch.tensor(row) for row in rows], filler, side).to(device)
