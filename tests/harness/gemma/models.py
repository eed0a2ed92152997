"""A tiny model in the shape of Gemma 3: sliding windows, tied embeddings, a tokenizer that begins with <bos>."""

import json
import string
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, trainers
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, GemmaTokenizer, GenerationConfig

from points24.harness.checkpoints.packaged import PACKAGED
from points24.tasks.hand_sets import hand_set
from points24.tasks.prompts import json_reply, template
from points24.tasks.solver import solutions

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
GEMMA = PACKAGED["gemma-3-270m"]


def tokenizer() -> GemmaTokenizer:
    """Merges learned from a few deals, in Gemma's own class; as `unpack` leaves it."""
    deals = hand_set("id").deals[:40]
    texts = [template().render(deal) + json_reply(deal, solutions(deal.values, 24)[0]) for deal in deals]
    learned = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    learned.normalizer = GemmaTokenizer().backend_tokenizer.normalizer  # pyright: ignore[reportAttributeAccessIssue]  its stubs lack the setter
    characters = [*string.printable.replace(" ", ""), "▁"]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL, initial_alphabet=characters)  # pyright: ignore[reportCallIssue]  its stubs lack arguments
    learned.train_from_iterator(texts, trainer)
    model = json.loads(learned.to_str())["model"]
    made = GemmaTokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])  # pyright: ignore[reportArgumentType]  its annotation is too narrow
    made.add_special_tokens({"additional_special_tokens": SPECIAL[5:]})
    made.add_bos_token = True
    made.chat_template = GEMMA.chat_template
    return made


def tiny(folder: Path, seed: int = 0, dtype: torch.dtype = torch.float32) -> Path:
    """Save one with random weights."""
    words = tokenizer()
    torch.manual_seed(seed)
    config = Gemma3TextConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=6, head_dim=32,
        num_attention_heads=2, num_key_value_heads=1, sliding_window=64, max_position_embeddings=2048,
        query_pre_attn_scalar=32, pad_token_id=0, eos_token_id=1, bos_token_id=2, tie_word_embeddings=True,
        initializer_range=0.3,
    )  # fmt: skip
    model = Gemma3ForCausalLM(config).to(dtype)  # pyright: ignore[reportArgumentType]  transformers wraps `to`
    ends = [1, words.convert_tokens_to_ids("<end_of_turn>")]
    model.generation_config = GenerationConfig(bos_token_id=2, eos_token_id=ends, pad_token_id=0)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
