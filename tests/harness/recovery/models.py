"""Tiny random checkpoints of every family, in pairs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

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
EXPERTS: dict[str, Any] = {**SMALL, "num_local_experts": 3}
ROUTED: dict[str, Any] = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
ROUTED |= {"n_group": 2, "topk_group": 1, "first_k_dense_replace": 1}
LATENT: dict[str, Any] = {**SMALL, **ROUTED, "num_key_value_heads": 4, "kv_lora_rank": 12, "v_head_dim": 8}
LATENT |= {"qk_rope_head_dim": 4, "qk_nope_head_dim": 6, "n_shared_experts": 1}
FALCON: dict[str, Any] = {**GPT, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA4: dict[str, Any] = {**EXPERTS, "intermediate_size_mlp": 56, "head_dim": 8, "num_experts_per_tok": 1}
LLAMA4 |= {"interleave_moe_layer_step": 2}
MAMBA: dict[str, Any] = {**GPT, "hidden_size": 32, "state_size": 6, "num_hidden_layers": 2}
ROTATED: dict[str, Any] = {**SMALL, "head_dim": 8}
ROTATED |= {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}}
VIT: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "image_size": 28, "patch_size": 14}
SIGLIP: dict[str, Any] = {**VIT, "intermediate_size": 24, "num_attention_heads": 2}
LLAMA4_VIT: dict[str, Any] = {
    **VIT,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "vision_output_dim": 16,
}
LLAMA4_VIT |= {"projector_input_dim": 16, "projector_output_dim": 16}
MLLAMA_VIT: dict[str, Any] = {**VIT, "intermediate_size": 24, "attention_heads": 2, "vision_output_dim": 32}
MLLAMA_VIT |= {"num_global_layers": 1, "intermediate_layers_indices": [0], "max_num_tiles": 1}
MLLAMA_VIT |= {"supported_aspect_ratios": [[1, 1]]}
QWEN_VIT: dict[str, Any] = {
    "depth": 1,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_heads": 2,
    "out_hidden_size": 32,
}
QWEN3_VIT: dict[str, Any] = {**QWEN_VIT, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
QWEN2_VIT: dict[str, Any] = {"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2}
TOKENS: dict[str, Any] = {
    "mm_tokens_per_image": 4,
    "image_token_index": 40,
    "boi_token_index": 41,
    "eoi_token_index": 42,
}
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**SMALL),
    "llama-tied": lambda: transformers.LlamaConfig(**SMALL, tie_word_embeddings=True),
    "mistral": lambda: transformers.MistralConfig(**SMALL),
    "qwen2": lambda: transformers.Qwen2Config(**SMALL),
    "qwen3": lambda: transformers.Qwen3Config(**{**SMALL, "head_dim": 8}),
    "gemma": lambda: transformers.GemmaConfig(**{**SMALL, "head_dim": 8}),
    "gemma2": lambda: transformers.Gemma2Config(**{**SMALL, "head_dim": 8}),
    "gemma3_text": lambda: transformers.Gemma3TextConfig(**{**SMALL, "head_dim": 8}),
    "gemma3": lambda: transformers.Gemma3Config(
        text_config={**SMALL, "head_dim": 8}, vision_config=SIGLIP, **TOKENS
    ),
    "olmo": lambda: transformers.OlmoConfig(**SMALL),
    "olmo2": lambda: transformers.Olmo2Config(**SMALL),
    "olmo3": lambda: transformers.Olmo3Config(**SMALL),
    "granite": lambda: transformers.GraniteConfig(**SMALL),
    "phi3": lambda: transformers.Phi3Config(**SMALL),
    "glm": lambda: transformers.GlmConfig(**{**SMALL, "head_dim": 8}),
    "glm4": lambda: transformers.Glm4Config(**{**SMALL, "head_dim": 8}),
    "gpt2": lambda: transformers.GPT2Config(**GPT, n_embd=32, n_layer=2, n_head=4),
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**{**SMALL, **GPT}),
    "falcon": lambda: transformers.FalconConfig(**FALCON, multi_query=True, new_decoder_architecture=False),
    "falcon-new": lambda: transformers.FalconConfig(**FALCON, num_kv_heads=2, new_decoder_architecture=True),
    "falcon-rw": lambda: transformers.FalconConfig(**FALCON, multi_query=False, alibi=True),
    "mixtral": lambda: transformers.MixtralConfig(**EXPERTS),
    "qwen2_moe": lambda: transformers.Qwen2MoeConfig(**SMALL, **MOE, shared_expert_intermediate_size=20),
    "qwen3_moe": lambda: transformers.Qwen3MoeConfig(**SMALL, **MOE),
    "olmoe": lambda: transformers.OlmoeConfig(**SMALL, num_experts=3, num_experts_per_tok=2),
    "glm4_moe": lambda: transformers.Glm4MoeConfig(**{**SMALL, **ROUTED, "head_dim": 8}),
    "granitemoe": lambda: transformers.GraniteMoeConfig(**EXPERTS, num_experts_per_tok=2),
    "granitemoeshared": lambda: transformers.GraniteMoeSharedConfig(
        **EXPERTS, num_experts_per_tok=2, shared_intermediate_size=24
    ),
    "gpt_oss": lambda: transformers.GptOssConfig(**EXPERTS, head_dim=8, num_experts_per_tok=2),
    "llama4_text": lambda: transformers.Llama4TextConfig(**LLAMA4),
    "llama4": lambda: transformers.Llama4Config(text_config=LLAMA4, vision_config=LLAMA4_VIT),
    "deepseek_v2": lambda: transformers.DeepseekV2Config(**LATENT, q_lora_rank=None),
    "deepseek_v3": lambda: transformers.DeepseekV3Config(**LATENT, q_lora_rank=14),
    "mllama": lambda: transformers.MllamaConfig(
        text_config={**SMALL, "cross_attention_layers": [1]}, vision_config=MLLAMA_VIT
    ),
    "qwen2_vl": lambda: transformers.Qwen2VLConfig(text_config=ROTATED, vision_config=QWEN2_VIT),
    "qwen2_5_vl": lambda: transformers.Qwen2_5_VLConfig(
        text_config=ROTATED, vision_config={**QWEN_VIT, "fullatt_block_indexes": [0]}
    ),
    "qwen3_vl": lambda: transformers.Qwen3VLConfig(text_config=ROTATED, vision_config=QWEN3_VIT),
    "qwen3_vl_moe": lambda: transformers.Qwen3VLMoeConfig(
        text_config={**ROTATED, **MOE}, vision_config=QWEN3_VIT
    ),
    "mamba": lambda: transformers.MambaConfig(**MAMBA, time_step_rank=3),
    "falcon_mamba": lambda: transformers.FalconMambaConfig(**MAMBA, time_step_rank=3),
    "mamba2": lambda: transformers.Mamba2Config(**MAMBA, num_heads=8, head_dim=8, n_groups=2),
}


def auto_class(config: Any) -> Any:
    """What loads a model of that configuration with its head."""
    return AutoModelForImageTextToText if hasattr(config, "vision_config") else AutoModelForCausalLM


def make_pair(folder: Path, family: str = "llama", **save) -> tuple[Path, Path]:
    """(source, target): bf16, random biases and norms included; the target is the source, perturbed."""
    torch.manual_seed(0)
    config = CONFIGS[family]()
    model = auto_class(config).from_config(config, dtype=torch.bfloat16)
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
