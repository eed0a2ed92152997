"""Loading the models of a shift, and checking that they can be compared."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from points24.harness.checkpoints.opening import read_config
from points24.harness.checkpoints.pretrained import from_pretrained
from points24.harness.evaluation.engines.engine import FolderWeights
from points24.harness.evaluation.engines.hf import build
from points24.harness.recovery.arguments import device_of
from points24.harness.shift.references import Tokens
from points24.tasks.errors import InputError
from points24.tasks.time_limit import check_chat_template


def load_model(folder: Path, dtype: str, device: str, device_map: str | None) -> Any:
    """A model ready for forward passes; code that a checkpoint brings is never run.

    Args:
        folder: a model folder, or one with a LoRA adapter, which is merged into the model that it names.
        dtype: ``auto`` (as stored), ``float32``, ``bfloat16`` or ``float16``.
        device: ``auto``, ``cpu`` or ``cuda``.
        device_map: as in transformers, for models over several GPUs; None puts it on one device.

    Raises:
        InputError: it cannot be loaded.
    """
    read_config(folder)
    where: dict[str, Any] = {} if device_map is None else {"device_map": device_map}
    try:
        weights = FolderWeights(folder)
        if where:
            model = from_pretrained(AutoModelForCausalLM, weights.folder, dtype=dtype, **where)
        else:
            model = build(weights, dtype)
        if not where:
            model.to(device_of(device))  # pyright: ignore[reportArgumentType] — transformers wraps `to`
    except (OSError, ValueError, RuntimeError) as e:
        raise InputError(f"cannot be loaded: {' '.join(str(e).split())[:200]}") from e
    return model.eval()


def load_tokenizer(folder: Path, *, chat: bool) -> Any:
    """A model's tokenizer.

    Raises:
        InputError: there is none, or it lacks a chat template that is asked for.
    """
    if not any(folder.glob("token*")):
        raise InputError("no tokenizer in its folder; copy that of the model it was made from into it")
    try:
        tokenizer = from_pretrained(AutoTokenizer, folder)
    except (OSError, ValueError) as e:
        raise InputError(f"its tokenizer cannot be loaded: {' '.join(str(e).split())[:200]}") from e
    if chat and not tokenizer.chat_template:
        raise InputError("apply_chat_template: its tokenizer has no chat template")
    if chat:
        check_chat_template(tokenizer.apply_chat_template)
    return tokenizer


def check_same_tokens(tokenizer: Any, base: Any, texts: Iterable[str]) -> None:
    """Check that two tokenizers give every text the same tokens.

    Raises:
        InputError: they differ; it names the first token that does.
    """
    ours, theirs = tokenizer.get_vocab(), base.get_vocab()
    differing = [token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token)]
    if differing:
        token = min(differing, key=lambda t: min(ours.get(t, len(ours)), theirs.get(t, len(theirs))))
        here, there = (_shown(vocabulary.get(token)) for vocabulary in (ours, theirs))
        more = f" ({len(differing)} tokens differ)" if len(differing) > 1 else ""
        raise InputError(f"another tokenizer: token {token!r} is {here} here, {there} in the base's{more}")
    for text in texts:
        here, there = (each(text)["input_ids"] for each in (tokenizer, base))
        if here != there:
            place = next((i for i, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), None)
            place = min(len(here), len(there)) if place is None else place
            found, wanted = (
                each.convert_ids_to_tokens(ids[place : place + 1])
                for each, ids in ((tokenizer, here), (base, there))
            )
            raise InputError(
                f"another tokenizer: token {place} of a prompt is {found or 'missing'} here, "
                f"{wanted or 'missing'} by the base's"
            )


def _shown(place: int | None) -> str:
    return "missing" if place is None else f"number {place}"


def check_context(model: Any, sequences: Iterable[Tokens]) -> None:
    """Check that a model's context holds every prompt with its reply.

    Raises:
        InputError: it does not.
    """
    holds = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    longest = max(sequences, key=lambda each: len(each.ids))
    if holds is not None and len(longest.ids) > holds:
        raise InputError(
            f"its context holds {holds} tokens; prompt and reply take {len(longest.ids)} ({longest.name})"
        )
