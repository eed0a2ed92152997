"""The families of models, by the model type in config.json. Another one is one entry here and in its test."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from points24.harness.recovery.families import layouts
from points24.harness.recovery.families.family import ATTENTION, MLP, Family
from points24.tasks.errors import InputError

_DENSE = {name: name for name in (*ATTENTION, *MLP)}
_FUSED_MLP = _DENSE | {"gate_up_proj": layouts.gate_up}
_MOE = _FUSED_MLP | {
    "gate": "router",
    "w1": "gate_proj",
    "w3": "up_proj",
    "w2": "down_proj",
    "shared_expert_gate": "shared_expert_gate",
}
_GRANITE_MOE = _DENSE | {
    "router.layer": "router",
    "input_linear": layouts.gate_up,
    "output_linear": "down_proj",
}
_LATENT = _MOE | {
    "q_a_proj": "q_a_proj",
    "q_b_proj": "q_b_proj",
    "kv_a_proj_with_mqa": layouts.mla_kv_a,
    "kv_b_proj": layouts.mla_kv_b,
}
_MAMBA = {
    "in_proj": layouts.mamba_in,
    "x_proj": layouts.mamba_x,
    "dt_proj": "dt_proj",
    "out_proj": "out_proj",
}
_MAMBA_NAMES: Mapping[str, Any] = {
    "layers": r"(?:backbone\.)?layers\.",
    "outside": {r"(?:backbone\.)?embeddings": "embed_tokens", "lm_head": "lm_head"},
    "kept": ("conv1d",),
}

FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"), Family(_DENSE)),
    **dict.fromkeys(("gemma3", "mllama", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"), Family(_DENSE)),
    **dict.fromkeys(("olmo", "olmo2", "olmo3", "granite"), Family(_DENSE)),
    "phi3": Family(_FUSED_MLP | {"qkv_proj": layouts.qkv}),
    **dict.fromkeys(("glm", "glm4"), Family(_FUSED_MLP)),
    **dict.fromkeys(("mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "glm4_moe"), Family(_MOE)),
    "qwen3_vl_moe": Family(_MOE | {"gate_up_proj": layouts.gate_up_either_way}),
    **dict.fromkeys(("granitemoe", "granitemoeshared"), Family(_GRANITE_MOE)),
    **dict.fromkeys(("deepseek_v2", "deepseek_v3"), Family(_LATENT)),
    **dict.fromkeys(
        ("llama4", "llama4_text"),
        Family(_DENSE | {"router": "router", "experts.gate_up_proj": layouts.gate_up_columns}),
    ),
    "gpt_oss": Family(_DENSE | {"router": "router", "experts.gate_up_proj": layouts.gate_up_interleaved}),
    **dict.fromkeys(("mamba", "falcon_mamba"), Family(_MAMBA, **_MAMBA_NAMES)),
    "mamba2": Family({"in_proj": layouts.mamba2_in, "out_proj": "out_proj"}, **_MAMBA_NAMES),
    "falcon": Family(
        {
            "query_key_value": layouts.falcon_qkv,
            "self_attention.dense": "o_proj",
            "dense_h_to_4h": "up_proj",
            "dense_4h_to_h": "down_proj",
        },
        layers=r"(?:transformer\.)?h\.",
        outside={r"(?:transformer\.)?word_embeddings": "embed_tokens", "lm_head": "lm_head"},
    ),
    "gpt2": Family(
        {
            "attn.c_attn": layouts.qkv_columns,
            "attn.c_proj": "o_proj",
            "mlp.c_fc": "up_proj",
            "mlp.c_proj": "down_proj",
        },
        layers=r"(?:transformer\.)?h\.",
        outside={r"(?:transformer\.)?wte": "embed_tokens", "lm_head": "lm_head"},
    ),
    "gpt_neox": Family(
        {
            "query_key_value": layouts.qkv_per_head,
            "attention.dense": "o_proj",
            "dense_h_to_4h": "up_proj",
            "dense_4h_to_h": "down_proj",
        },
        layers=r"(?:gpt_neox\.)?layers\.",
        outside={r"(?:gpt_neox\.)?embed_in": "embed_tokens", "embed_out": "lm_head"},
    ),
}

PLAIN = {
    **{name: name for name in (*ATTENTION, *MLP, "out_proj", "fc1", "fc2", "c_proj", "dense_4h_to_h")},
    **{name: name for name in ("wq", "wk", "wv", "wo", "w1", "w2", "w3", "query", "key", "value")},
}
"""Names that no family of ours or of the hub gives to a fused tensor."""
ONE, KEPT = "one", "none"
SPLITS = (ONE, KEPT, *layouts.LAYOUTS)
"""What a user can say of a tensor: that it is one matrix, no matrix, or laid out so."""


def family_of(
    config: Mapping[str, Any], layer_prefix: str | None = None, split: Sequence[str] = ()
) -> Family:
    """The family that a config.json names, or one whose layers have the given prefix.

    Args:
        config: config.json.
        layer_prefix: a regular expression for what precedes the number of a layer, such as
            ``transformer.blocks.``. Only matrices with well-known names count then.
        split: what further tensors hold, such as ``Wqkv=qkv``: the end of the path, and the layout.

    Raises:
        InputError: a family or layout that is not known, or a prefix that is no regular expression.
    """
    text = text_config(config)
    if layer_prefix is not None:
        try:
            re.compile(layer_prefix)
        except re.error as e:
            raise InputError(f"layer prefix {layer_prefix!r}: not a regular expression ({e})") from e
        family = Family(PLAIN, layers=layer_prefix)
    else:
        model_type = str(config.get("model_type"))
        if model_type not in FAMILIES:
            raise InputError(
                f"model type {model_type!r}: expected one of {', '.join(FAMILIES)}, or give --layer-prefix"
            )
        family = replace(FAMILIES[model_type], depth=text.get("num_hidden_layers"))
    return _with(family, split)


def _with(family: Family, split: Sequence[str]) -> Family:
    modules, kept = dict(family.modules), list(family.kept)
    for given in split:
        end, _, layout = given.partition("=")
        if not end or layout not in SPLITS:
            raise InputError(f"split {given!r}: expected NAME=LAYOUT, with one of {', '.join(SPLITS)}")
        if layout == KEPT:
            kept.append(end)
            modules.pop(end, None)
        elif layout in layouts.LAYOUTS:
            modules[end] = layouts.LAYOUTS[layout]
        else:
            modules[end] = re.sub(r"\W", "_", end.rpartition(".")[2])
    return replace(family, modules=modules, kept=tuple(kept))


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of config.json that describes the language model."""
    return config.get("text_config") or config
