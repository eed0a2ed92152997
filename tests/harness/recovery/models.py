"""Tiny random checkpoints of every family, in pairs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM

SMALL: dict[str, Any] = {
    "vocab_size": 48,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT: dict[str, Any] = {"vocab_size": 48, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
MOE: dict[str, Any] = {
    "num_experts": 3,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "decoder_sparse_step": 1,
}
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**SMALL),
    "llama-tied": lambda: transformers.LlamaConfig(**SMALL, tie_word_embeddings=True),
    "mistral": lambda: transformers.MistralConfig(**SMALL),
    "qwen2": lambda: transformers.Qwen2Config(**SMALL),
    "qwen3": lambda: transformers.Qwen3Config(**SMALL, head_dim=8),
    "gemma2": lambda: transformers.Gemma2Config(**SMALL, head_dim=8),
    "phi3": lambda: transformers.Phi3Config(**SMALL),
    "mixtral": lambda: transformers.MixtralConfig(**SMALL, num_local_experts=3),
    "qwen3_moe": lambda: transformers.Qwen3MoeConfig(**SMALL, **MOE),
    "gpt2": lambda: transformers.GPT2Config(**GPT, n_embd=32, n_layer=2, n_head=4),
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**{**SMALL, **GPT}),
}


def make_pair(folder: Path, family: str = "llama", **save) -> tuple[Path, Path]:
    """(source, target): bf16, random biases and norms included; the target is the source, perturbed."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[family](), dtype=torch.bfloat16)
    for name, scale in (("source", 0.1), ("target", 0.02)):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(scale * torch.randn_like(parameter))
        model.save_pretrained(folder / name, **save)
    (folder / "target" / "tokenizer.json").write_text('{"a": 1}\n')
    return folder / "source", folder / "target"


def llama_states(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """fp32 Llama checkpoints: a random one, and others that random updates made of it, one from the other."""
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(CONFIGS["llama"](), dtype=torch.float32)
    for name in names:
        with torch.no_grad():
            for parameter in model.parameters():
                update = 0.02 * torch.randn_like(parameter)
                if parameter.dim() == 2:  # a low-rank signal in noise
                    rows, cols = parameter.shape
                    update += 0.1 * torch.randn(rows, 2) @ torch.randn(2, cols)
                parameter.add_(update)
        model.save_pretrained(folder / name)
    return {name: folder / name for name in names}
