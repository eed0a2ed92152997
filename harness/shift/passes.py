"""Teacher-forced forward passes: what a model makes of given replies, token by token, summed over each deal.

Sequences are batched by length and padded on the right, where a causal model cannot see the padding. The base
runs beside the checkpoint on the same batch, so divergences are exact over the whole vocabulary. Its logits
are kept for the next checkpoint up to a fixed size and computed again beyond it: memory does not grow with
the number of checkpoints.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from points24.harness.shift.measures import entropy, kl, token_nll, top_overlap
from points24.harness.shift.references import Tokens
from points24.tasks.errors import InputError

_ELEMENTS = 2**23
"""Logits that are converted to double at a time."""

_KEPT = 2**30
"""Bytes of the base's logits that are kept: enough for a small model on every deal."""

Tick = Callable[[int], object]
"""Is called with the number of sequences that are done."""
States = tuple[Tensor, ...]
"""Behind each layer: the hidden state of each prompt's last token, (deals, width), on the CPU."""


class Base:
    """What checkpoints are compared with.

    Args:
        model: a causal transformers model.
        room: bytes of logits to keep.
    """

    def __init__(self, model: Any, room: int = _KEPT):
        self.model, self._room = model, room
        self._kept: dict[tuple[Tokens, ...], tuple[Tensor, States]] = {}

    def forward(self, batch: tuple[Tokens, ...]) -> tuple[Tensor, States]:
        if batch in self._kept:
            return self._kept[batch]
        found = _forward(self.model, batch, with_states=True)
        size = found[0].nbytes
        if size <= self._room:
            self._room -= size
            self._kept[batch] = found
        return found


@dataclass(frozen=True)
class Passed:
    """What passes over some sequences gave."""

    sums: dict[str, Tensor]
    """Quantity -> its sum over each reply's tokens, (deals,) double: nll, nll_numbers, nll_formula, entropy;
    with a base also kl, reverse_kl, overlap."""
    counts: dict[str, Tensor]
    """Tokens of each reply, (deals,): all, numbers, formula."""
    states: States = ()
    base_states: States = ()

    def mean(self, quantity: str, part: str = "all") -> Tensor:
        """The mean over each reply's tokens, (deals,)."""
        return self.sums[quantity] / self.counts[part]


@torch.inference_mode()
def run(
    model: Any,
    sequences: Sequence[Tokens],
    *,
    batch_size: int,
    base: Base | None = None,
    tick: Tick = lambda _: None,
) -> Passed:
    """Pass sequences through a model and, where there is one, through its base.

    Args:
        model: a causal transformers model.
        sequences: in any order; the results are in theirs.
        batch_size: sequences per pass.
        base: may hold the model itself, which then runs once. Without a base there are no states either.
        tick: called after every batch.

    Raises:
        InputError: a logit of the model or the base is NaN, or infinite for a token of a reply; or the two
            have vocabularies of different sizes.
    """
    order = sorted(range(len(sequences)), key=lambda place: -len(sequences[place].ids))
    sums: dict[str, Tensor] = {}
    states: list[States] = []
    base_states: list[States] = []
    for first in range(0, len(order), batch_size):
        chosen = order[first : first + batch_size]
        batch = tuple(sequences[place] for place in chosen)
        theirs = base.forward(batch) if base else None
        same = base is not None and base.model is model
        ours = theirs if theirs and same else _forward(model, batch, with_states=base is not None)
        for name, values in _over_deals(batch, ours[0], theirs and theirs[0]).items():
            where = sums.setdefault(name, torch.zeros(len(sequences), dtype=torch.float64))
            where[chosen] = values
        states.append(ours[1])
        base_states.append(theirs[1] if theirs else ())
        tick(len(batch))
    back = torch.tensor(order).argsort()
    return Passed(sums, _counts(sequences), _joined(states, back), _joined(base_states, back))


def _forward(model: Any, batch: Sequence[Tokens], *, with_states: bool) -> tuple[Tensor, States]:
    """The logits that predict every reply's tokens, (tokens of all replies, vocabulary), and the states."""
    width = max(len(each.ids) for each in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)  # any id will do as padding
    mask = torch.zeros_like(ids)
    for row, each in enumerate(batch):
        ids[row, : len(each.ids)] = torch.tensor(each.ids)
        mask[row, : len(each.ids)] = 1
    earliest = min(each.start for each in batch) - 1
    options: dict[str, Any] = {"output_hidden_states": with_states, "use_cache": False}
    # Logits of the prompts, often most of the sequence, are not needed.
    skipped = earliest if "logits_to_keep" in inspect.signature(model.forward).parameters else 0
    if skipped:
        options["logits_to_keep"] = width - skipped
    device = model.get_input_embeddings().weight.device
    out = model(input_ids=ids.to(device), attention_mask=mask.to(device), **options)
    rows = torch.tensor([row for row, each in enumerate(batch) for _ in each.ids[each.start :]])
    places = torch.tensor([place - 1 for each in batch for place in range(each.start, len(each.ids))])
    there = out.logits.device
    logits = out.logits[rows.to(there), (places - skipped).to(there)]
    hidden: States = ()
    if with_states:
        last = torch.tensor([each.start - 1 for each in batch])
        # The first entry is the embedding, the same for all deals: the prompts end in one token.
        hidden = tuple(
            layer[torch.arange(len(batch)).to(layer.device), last.to(layer.device)].cpu()
            for layer in out.hidden_states[1:]
        )
    return logits, hidden


def _over_deals(batch: Sequence[Tokens], logits: Tensor, base: Tensor | None) -> dict[str, Tensor]:
    """Quantity -> sum over each reply's tokens, (batch,)."""
    if base is not None and base.shape[1] != logits.shape[1]:
        raise InputError(f"a vocabulary of {logits.shape[1]} tokens; the base's has {base.shape[1]}")
    tokens = torch.tensor([token for each in batch for token in each.ids[each.start :]])
    owner = torch.tensor([row for row, each in enumerate(batch) for _ in each.ids[each.start :]])
    step = max(1, _ELEMENTS // logits.shape[1])
    parts = [
        _at_tokens(
            logits[i : i + step],
            None if base is None else base[i : i + step].to(logits.device),
            tokens[i : i + step].to(logits.device),
        )
        for i in range(0, len(tokens), step)
    ]
    values = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    for name, found in values.items():
        if not found.isfinite().all():
            bad = batch[int(owner[int((~found.isfinite()).nonzero()[0])])]
            raise InputError(f"NaN or infinite logits on {bad.name} ({name})")
    for part in ("numbers", "formula"):
        inside = [
            place in getattr(each, part) for each in batch for place in range(each.start, len(each.ids))
        ]
        values[f"nll_{part}"] = values["nll"] * torch.tensor(inside)
    zero = torch.zeros(len(batch), dtype=torch.float64)
    return {name: zero.index_add(0, owner, found) for name, found in values.items()}


def _at_tokens(logits: Tensor, base: Tensor | None, tokens: Tensor) -> dict[str, Tensor]:
    ours = logits.double().log_softmax(1)
    found = {"nll": token_nll(ours, tokens), "entropy": entropy(ours)}
    if base is not None:
        theirs = base.double().log_softmax(1)
        found |= {"kl": kl(theirs, ours), "reverse_kl": kl(ours, theirs)}
        found["overlap"] = top_overlap(theirs, ours)
    return {name: values.cpu() for name, values in found.items()}


def _counts(sequences: Sequence[Tokens]) -> dict[str, Tensor]:
    return {
        "all": torch.tensor([len(each.ids) - each.start for each in sequences]),
        "numbers": torch.tensor([len(each.numbers) for each in sequences]),
        "formula": torch.tensor([len(each.formula) for each in sequences]),
    }


def _joined(batches: Sequence[States], back: Tensor) -> States:
    """The states of all batches, in the order of the sequences."""
    return tuple(torch.cat(layer)[back] for layer in zip(*batches, strict=True))
