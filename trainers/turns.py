"""From one reply to the next, in tokens."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

_REPLY = "<<reply>>"
"""Stands for the reply in the rendered conversation; only what follows it is used."""


def message_tokens(
    tokenizer: Any, eos: Collection[int], reply: Sequence[int], text: str, **template_kwargs: Any
) -> list[int]:
    """What follows a reply: its end of turn if it lacks one, the message, the start of the next turn.

    Taken from the chat template as it renders the whole conversation, so that what stands between two turns,
    such as a line break after the end of turn, is as the model knows it.

    Args:
        tokenizer: with a chat template.
        eos: the tokens that end a turn.
        reply: the reply's tokens; the last is one of `eos`, or the reply was cut off.
        text: the message to the model.
        template_kwargs: further variables of the chat template.
    """
    chat = [
        {"role": "user", "content": "."},
        {"role": "assistant", "content": _REPLY},
        {"role": "user", "content": text},
    ]
    written = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=False, **template_kwargs
    )
    after = tokenizer(written.partition(_REPLY)[2], add_special_tokens=False).input_ids
    end = next((place for place, token in enumerate(after) if token in eos), None)
    if end is None:  # a template that ends no turn
        return after
    return after[end + 1 :] if reply and reply[-1] in eos else after[end:]
