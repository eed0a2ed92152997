"""The nano family's tokenizer, built from the wording of one protocol.

A prompt is mostly fixed wording. Numbers up to 99, with working up to `LARGEST`, card letters, operators and
brackets are single tokens. Each piece of wording between two of them, in the protocol's prompt, reply and
messages, is a single token as well. Any other text falls back to characters and bytes.
"""

from __future__ import annotations

import random
import string

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from points24.tasks.cards import RANKS, RULES, Deal
from points24.tasks.prompts import COUNTS
from points24.tasks.protocols.protocol import DEFAULT, Protocol, read_protocol
from points24.tasks.working import worked

SPECIAL = ("<pad>", "</s>", "<unk>")
PAD_ID, EOS_ID, UNKNOWN_ID = range(len(SPECIAL))

# An operator between blanks belongs to the wording; in a formula, without blanks, it is a token of its own.
_ATOMS = r"\d{1,%d}|(?<![A-Za-z])[AJQK](?![A-Za-z])|(?<! )[-+*/](?! )|[()]"
# With working, how many cards there are is a token of its own: then all of a prompt for five is known.
_COUNT = r"|(?<=dealt )(?:three|four|five|six)(?= cards)"
# Marks only the end of the assistant's turn: a reply is then the same text with and without the template.
_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}"
    "{% elif message['role'] == 'system' %}{{ '\n\n' }}{% endif %}"
    "{% endfor %}"
)


_DEAL = Deal(("K", "5", "A", "2"), RULES["ood"])  # any deal: only the wording counts
_MISSES = ("13+5*2-1", "2*5-1+13", "13+5*2", "10+5*2+4", "13*13", "13+5*", "5)*(2", "5 5", "x")
"""Formulas for which a verifier has different things to say."""


_WORKED = ("13+5*2+1", "5*2-1+13", "(13-5)*(1+2)", "(5-2/1)*13")
"""Formulas that together need every sign."""
LARGEST = 199
"""The largest number with a token of its own, in a tokenizer for working: most steps stay below."""


def wording(asked: Protocol, working: str = "none") -> list[str]:
    """Texts in which a protocol, and working, says all that it may say.

    The messages of points24 are left out, since the shipped models' tokenizers do not have them.
    """
    replies = [asked.reply(_DEAL, formula) for formula in ("13+5*2+1", *_MISSES)]
    said = [] if asked.name == DEFAULT else [asked.verify(_DEAL, text).message for text in (*replies, "")]
    prompts = [asked.prompt.render(_DEAL.under(rule)) for rule in RULES.values()]
    thoughts = [
        worked(_DEAL, formula, "steps", random.Random(seed))[0] + replies[0]
        for formula in (() if working == "none" else _WORKED)
        for seed in range(9)
    ]
    thoughts.append(worked(_DEAL, _WORKED[0], working, random.Random(0))[0])
    return [*prompts, replies[0], *filter(None, said), *thoughts]


def build_tokenizer(asked: Protocol | None = None, working: str = "none") -> PreTrainedTokenizerFast:
    """The tokenizer of a protocol, by default points24's, for such working; the same at each call.

    It pads on the left, as generation needs.
    """
    largest = 99 if working == "none" else LARGEST
    atoms = _ATOMS % len(str(largest)) + ("" if working == "none" else _COUNT)
    split = pre_tokenizers.Split(Regex(atoms), behavior="isolated")
    texts = wording(asked or read_protocol(DEFAULT), working)
    pieces = {piece for text in texts for piece, _ in split.pre_tokenize_str(text)}
    single = {
        *RANKS,
        *"+-*/()",
        *map(str, range(largest + 1)),
        *(COUNTS.values() if working != "none" else ()),
    }
    characters = set(string.printable) - single
    whole = sorted((pieces | single) - characters)
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
