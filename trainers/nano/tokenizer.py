"""The nano family's tokenizer, built from the built-in template.

A prompt is mostly fixed wording. Numbers up to 99, card letters, operators and brackets are single tokens.
Each piece of wording between two of them, in the built-in prompt and reply, is a single token as well. Any
other text falls back to characters and bytes.
"""

from __future__ import annotations

import string

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from points24.tasks.cards import RANKS, RULES, Deal
from points24.tasks.prompts import json_reply, template

SPECIAL = ("<pad>", "</s>", "<unk>")
PAD_ID, EOS_ID, UNKNOWN_ID = range(len(SPECIAL))

# An operator between blanks belongs to the wording; in a formula, without blanks, it is a token of its own.
_ATOMS = r"\d{1,2}|(?<![A-Za-z])[AJQK](?![A-Za-z])|(?<! )[-+*/](?! )|[()]"
# Marks only the end of the assistant's turn: a reply is then the same text with and without the template.
_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}"
    "{% elif message['role'] == 'system' %}{{ '\n\n' }}{% endif %}"
    "{% endfor %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer, the same at each call. It pads on the left, as generation needs."""
    split = pre_tokenizers.Split(Regex(_ATOMS), behavior="isolated")
    deal = Deal(("K", "5", "A", "2"), RULES["ood"])  # any deal: only the wording counts
    texts = template().render(deal), json_reply(deal, "13+5*2+1")
    wording = {piece for text in texts for piece, _ in split.pre_tokenize_str(text)}
    atoms = {*RANKS, *"+-*/()", *map(str, range(100))}
    characters = set(string.printable) - atoms
    whole = sorted((wording | atoms) - characters)
    # Unigram takes the split with the highest total score: whole pieces first, then characters. Bytes are
    # left for characters outside the vocabulary.
    vocabulary = [(token, 0.0) for token in SPECIAL]
    vocabulary += [(piece, -1.0) for piece in whole]
    vocabulary += [(character, -10.0) for character in sorted(characters)]
    vocabulary += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=UNKNOWN_ID, byte_fallback=True))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[PAD_ID],
        eos_token=SPECIAL[EOS_ID],
        unk_token=SPECIAL[UNKNOWN_ID],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        chat_template=_CHAT_TEMPLATE,
    )
