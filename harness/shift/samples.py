"""The base's own samples: one reply per deal at temperature 1, with which the forward KL is estimated.

Each deal has random numbers of its own, from the seed and its place, so that samples do not depend on the
batch they were drawn in (Gumbel-max: argmax of log p plus Gumbel noise is a draw from p).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from points24.harness.shift.passes import Tick

SEED = 24


class GumbelNoise(LogitsProcessor):
    """Turns greedy decoding into sampling.

    Args:
        seed: of all deals.
        places: the place of each row's deal.
    """

    def __init__(self, seed: int, places: Sequence[int]):
        self.generators = [torch.Generator().manual_seed(seed * 1_000_003 + place) for place in places]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]  narrower types
        noise = torch.stack(
            [torch.rand(scores.shape[1], generator=each, dtype=torch.float64) for each in self.generators]
        )
        return scores.double() - (-noise.log()).log().to(scores.device)


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn."""

    stop: int | None
    """The end-of-text token, in addition to those that the model's generation config names."""
    max_new_tokens: int
    """Where a reply is cut off."""
    batch_size: int
    """Prompts per batch, which changes nothing but rounding."""
    seed: int = SEED


@torch.inference_mode()
def samples(
    model: Any, prompts: Sequence[Sequence[int]], how: Sampling, tick: Tick = lambda _: None
) -> list[list[int]]:
    """A sampled reply for each prompt, as tokens, with the stop token where it came."""
    stops = _stops(model, how.stop)
    pad = 0 if how.stop is None else how.stop
    found: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place]))
    for first in range(0, len(order), how.batch_size):
        chosen = order[first : first + how.batch_size]
        width = max(len(prompts[place]) for place in chosen)
        ids = torch.full((len(chosen), width), pad, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, place in enumerate(chosen):  # padded on the left: generation goes on at the right
            ids[row, width - len(prompts[place]) :] = torch.tensor(prompts[place])
            mask[row, width - len(prompts[place]) :] = 1
        device = model.get_input_embeddings().weight.device
        made = model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            generation_config=_config(how.max_new_tokens, pad, stops),
            logits_processor=LogitsProcessorList([GumbelNoise(how.seed, chosen)]),
        )
        for place, row in zip(chosen, made[:, width:].tolist(), strict=True):
            end = next((i for i, token in enumerate(row) if token in stops), len(row) - 1)
            found[place] = row[: end + 1]
        tick(len(chosen))
    return found


def _stops(model: Any, stop: int | None) -> list[int]:
    named = model.generation_config.eos_token_id
    listed = named if isinstance(named, list) else [named]
    return sorted({token for token in [*listed, stop] if token is not None})


def _config(max_new_tokens: int, pad: int, stops: list[int]) -> GenerationConfig:
    """Nothing but the model's own distribution, whatever its generation config says."""
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        max_new_tokens=max_new_tokens,
        pad_token_id=pad,
        eos_token_id=stops or None,
    )
