"""The tokens between one reply and the next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

_REPLY = "<<reply>>"
"""Placeholder for the reply in the rendered conversation; only the text after it is used."""


def message_tokens(
    tokenizer: Any, eos: Collection[int], reply: Sequence[int], text: str, **template_kwargs: Any
) -> list[int]:
    """The tokens after a reply: the end of its turn if missing, the message, the start of the next turn.

    They are cut from the whole conversation as the chat template renders it. What stands between two turns,
    such as a line break after the end of a turn, is then as the model knows it.

    Args:
        tokenizer: with a chat template.
        eos: the tokens that end a turn.
        reply: the reply's tokens; the last one is in `eos` unless the reply was cut off.
        text: the message to the model.
        template_kwargs: more variables for the chat template.
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
    if end is None:  # the template does not mark the end of a turn
        return after
    return after[end + 1 :] if reply and reply[-1] in eos else after[end:]
