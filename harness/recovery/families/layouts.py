"""How fused tensors are laid out: each function gives the matrices in one, as the models' code does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from points24.harness.recovery.families.family import Layout, Piece
from points24.tasks.errors import InputError

Config = Mapping[str, Any]
Shape = tuple[int, ...]
ALL = slice(None)
_QKV = ("q_proj", "k_proj", "v_proj")
_GATE_UP = ("gate_proj", "up_proj")


def rows(sizes: Mapping[str, int], shape: Shape) -> Sequence[Piece]:
    """(sum of the sizes, cols): modules one below the other, each with so many rows."""
    _expect(sum(sizes.values()), shape[0])
    pieces, start = [], 0
    for name, size in sizes.items():
        pieces.append((name, None, (slice(start, start + size),)))
        start += size
    return pieces


def qkv(config: Config, shape: Shape) -> Sequence[Piece]:
    """(q + k + v, hidden): the rows of q, then k, then v, fewer for k and v under grouped queries."""
    heads = _heads(config)
    size = config.get("head_dim") or _of(config, "hidden_size", "n_embd", "d_model") // heads
    kv = _kv_heads(config) * size
    return rows({"q_proj": heads * size, "k_proj": kv, "v_proj": kv}, shape)


def qkv_columns(config: Config, shape: Shape) -> Sequence[Piece]:
    """(hidden, 3 hidden), GPT-2's, stored transposed: the columns of q, then k, then v."""
    third = shape[1] // 3
    _expect(3 * third, shape[1])
    return [(name, None, (ALL, slice(i * third, (i + 1) * third))) for i, name in enumerate(_QKV)]


def qkv_per_head(config: Config, shape: Shape) -> Sequence[Piece]:
    """(heads x 3 x head size, hidden), GPT-NeoX's: q, k, v of the first head, then of the second, ..."""
    return _qkv_of_groups(_heads(config), 1, shape)


def qkv_per_group(config: Config, shape: Shape) -> Sequence[Piece]:
    """((groups x (queries + 2)) x head size, hidden): each group's queries, its key, its value."""
    heads, groups = _heads(config), _kv_heads(config)
    return _qkv_of_groups(groups, heads // groups, shape)


def falcon_qkv(config: Config, shape: Shape) -> Sequence[Piece]:
    """By groups (new architecture), all heads in one group (multi-query) or each in its own."""
    if config.get("new_decoder_architecture"):
        return qkv_per_group(config, shape)
    if config.get("multi_query", True):
        return _qkv_of_groups(1, _heads(config), shape)
    return qkv_per_head(config, shape)


def _qkv_of_groups(groups: int, queries: int, shape: Shape) -> Sequence[Piece]:
    size = shape[0] // (groups * (queries + 2))
    _expect(groups * (queries + 2) * size, shape[0])
    view = (groups, queries + 2, size, shape[1])
    which = (slice(0, queries), queries, queries + 1)
    return [(name, view, (ALL, i)) for name, i in zip(_QKV, which, strict=True)]


def gate_up(config: Config, shape: Shape) -> Sequence[Piece]:
    """(..., gate + up, hidden): two halves; of each expert, where experts are stacked."""
    half = _half(shape[-2])
    return _of_experts(shape, [(slice(0, half),), (slice(half, None),)])


def gate_up_columns(config: Config, shape: Shape) -> Sequence[Piece]:
    """(..., hidden, gate + up), Llama-4's, stored transposed: two halves, of each expert likewise."""
    half = _half(shape[-1])
    return _of_experts(shape, [(ALL, slice(0, half)), (ALL, slice(half, None))])


def gate_up_interleaved(config: Config, shape: Shape) -> Sequence[Piece]:
    """(..., hidden, 2 x inner), gpt-oss's: columns of gate and up by turns."""
    _half(shape[-1])
    return _of_experts(shape, [(ALL, slice(0, None, 2)), (ALL, slice(1, None, 2))])


def gate_up_either_way(config: Config, shape: Shape) -> Sequence[Piece]:
    """`gate_up` or `gate_up_columns`, by the hidden size: Qwen3-VL's experts are stored both ways."""
    hidden = config["hidden_size"]
    if shape[-1] == shape[-2]:
        raise InputError(f"fused matrix of {list(shape)}: which side is gate and up? expected two sizes")
    if hidden not in shape[-2:]:
        raise InputError(f"fused matrix of {list(shape)}: config.json says that one side is {hidden}")
    return (gate_up if shape[-1] == hidden else gate_up_columns)(config, shape)


def mla_kv_a(config: Config, shape: Shape) -> Sequence[Piece]:
    """DeepSeek's down-projection: rows of the latent of keys and values, then of the rotated key."""
    return rows({"kv_a_proj": config["kv_lora_rank"], "k_rope_proj": config["qk_rope_head_dim"]}, shape)


def mla_kv_b(config: Config, shape: Shape) -> Sequence[Piece]:
    """DeepSeek's up-projection, (heads x (key + value size), latent): key and value of each head."""
    heads, key, value = _heads(config), config["qk_nope_head_dim"], config["v_head_dim"]
    _expect(heads * (key + value), shape[0])
    view = (heads, key + value, shape[1])
    return [("k_b_proj", view, (ALL, slice(0, key))), ("v_b_proj", view, (ALL, slice(key, None)))]


def mamba_in(config: Config, shape: Shape) -> Sequence[Piece]:
    """(2 x inner, hidden): rows of the input x, then of the gate z."""
    half = _half(shape[0])
    return rows({"in_x_proj": half, "in_z_proj": half}, shape)


def mamba_x(config: Config, shape: Shape) -> Sequence[Piece]:
    """(rank + 2 states, inner): rows of the step's low rank, then of B, then of C."""
    states = config["state_size"]
    rank = shape[0] - 2 * states
    if isinstance(given := config.get("time_step_rank"), int):
        _expect(given, rank)
    return rows({"in_dt_proj": rank, "in_b_proj": states, "in_c_proj": states}, shape)


def mamba2_in(config: Config, shape: Shape) -> Sequence[Piece]:
    """(2 x inner + 2 x groups x states + heads, hidden): rows of z, x, B, C and the step."""
    inner, states = int(config["expand"] * config["hidden_size"]), config["n_groups"] * config["state_size"]
    named = {"in_z_proj": inner, "in_x_proj": inner, "in_b_proj": states, "in_c_proj": states}
    return rows(named | {"in_dt_proj": config["num_heads"]}, shape)


LAYOUTS: Mapping[str, Layout] = {
    "qkv": qkv,
    "qkv-columns": qkv_columns,
    "qkv-per-head": qkv_per_head,
    "qkv-per-group": qkv_per_group,
    "gate-up": gate_up,
    "gate-up-columns": gate_up_columns,
    "gate-up-interleaved": gate_up_interleaved,
}
"""What a user can name."""


def _of_experts(shape: Shape, indices: Sequence[tuple[slice, ...]]) -> Sequence[Piece]:
    experts: list[tuple[int, ...]] = [()] if len(shape) == 2 else [(e,) for e in range(shape[0])]
    return [
        (name, None, (*expert, *index))
        for expert in experts
        for name, index in zip(_GATE_UP, indices, strict=True)
    ]


def _heads(config: Config) -> int:
    return _of(config, "num_attention_heads", "n_head", "n_heads", "num_heads")


def _kv_heads(config: Config) -> int:
    given = (config.get(key) for key in ("num_key_value_heads", "num_kv_heads", "n_head_kv"))
    return next(filter(None, given), None) or _heads(config)


def _of(config: Config, *keys: str) -> int:
    for key in keys:
        if config.get(key):
            return config[key]
    raise InputError(f"config.json: {keys[0]} is missing, which a fused tensor needs")


def _half(size: int) -> int:
    _expect(2 * (size // 2), size)
    return size // 2


def _expect(from_config: int, found: int) -> None:
    if from_config != found:
        raise InputError(f"fused matrix of {found} rows or columns: config.json says {from_config}")
