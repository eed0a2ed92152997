"""Which tensors of a checkpoint are what: the layer, the module, and the matrices inside fused tensors.

Every family's modules get the same names: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj,
router, and outside the layers embed_tokens and lm_head. A tensor that fuses several modules, or stacks
experts, counts as several matrices, each with its own singular directions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor

from points24.tasks.errors import InputError

Index = tuple[int | slice, ...]
Piece = tuple[str, tuple[int, ...] | None, Index]
"""Module, shape to view the tensor in (None: its own), index into that."""
Fused = Callable[[Mapping[str, Any], tuple[int, ...]], Sequence[Piece]]
"""(text config, shape of the tensor) -> its matrices."""


@dataclass(frozen=True)
class Matrix:
    """One matrix inside a tensor."""

    tensor: str
    module: str
    layer: int | None
    """None outside the layers."""
    reshaped: tuple[int, ...] | None
    index: Index

    @property
    def names(self) -> frozenset[str]:
        """What it can be chosen by: its module, and the groups of modules that it belongs to."""
        return frozenset({self.module})

    def matrix(self, tensor: Tensor) -> Tensor:
        """The (rows, cols) matrix; a copy where it is not a view."""
        view = self._view(tensor)
        return view.reshape(-1, view.shape[-1])

    def row_starts(self, tensor_shape: tuple[int, ...]) -> Tensor:
        """The flat index at which each row of the matrix starts in a tensor of that shape: (rows,)."""
        *leading, columns = tensor_shape
        number = torch.arange(prod(leading)).view(*leading, 1) * columns
        starts = self._view(number.expand(tensor_shape))[..., 0]
        first = self._view(torch.arange(columns).expand(tensor_shape))
        return (starts + first[..., 0]).reshape(-1)

    def shape(self, tensor_shape: tuple[int, ...]) -> tuple[int, int]:
        """(rows, cols) in a tensor of that shape."""
        rows, cols = self.matrix(torch.empty(tensor_shape, device="meta")).shape
        return rows, cols

    def _view(self, tensor: Tensor) -> Tensor:
        return (tensor if self.reshaped is None else tensor.view(self.reshaped))[self.index]


@dataclass(frozen=True)
class Family:
    """How one family of models names its tensors."""

    layers: str = r"(?:model\.)?layers\."
    """What precedes the number of a layer, a regular expression."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The end of a module's path -> our name for it; by default that is the path's last word."""
    outside: Mapping[str, str] = field(
        default_factory=lambda: {r"(?:model\.)?embed_tokens": "embed_tokens", r"lm_head": "lm_head"}
    )
    fused: Mapping[str, Fused] = field(default_factory=dict)
    """The end of a module's path -> its matrices."""

    def layer(self, tensor: str) -> int | None:
        """The layer that a tensor belongs to."""
        match = re.match(rf"{self.layers}(\d+)\.", tensor)
        return None if match is None else int(match[match.lastindex or 1])

    def is_head(self, tensor: str) -> bool:
        """Whether it is the output layer, which checkpoints omit where it is tied to the embeddings."""
        path = tensor.removesuffix(".weight")
        return any(re.fullmatch(p, path) and module == "lm_head" for p, module in self.outside.items())

    def parts(self, tensor: str, shape: tuple[int, ...], config: Mapping[str, Any]) -> list[Matrix]:
        """The matrices inside a tensor of that shape; none in biases, norms and unknown tensors."""
        path = tensor.removesuffix(".weight")
        for pattern, module in self.outside.items():
            if re.fullmatch(pattern, path) and len(shape) == 2:
                return [Matrix(tensor, module, None, None, ())]
        match = re.fullmatch(rf"{self.layers}(?P<layer>\d+)\.(?P<module>.+)", path)
        if match is None or len(shape) not in (2, 3):
            return []
        layer, path = int(match["layer"]), match["module"]
        for end, fused in self.fused.items():
            if _ends(path, end):
                return [Matrix(tensor, m, layer, view, i) for m, view, i in fused(config, shape)]
        module = next((name for end, name in self.names.items() if _ends(path, end)), path.rpartition(".")[2])
        if len(shape) == 2:
            return [Matrix(tensor, module, layer, None, ())]
        if "experts" in path.split("."):
            return [Matrix(tensor, module, layer, None, (expert,)) for expert in range(shape[0])]
        return []


def _ends(path: str, end: str) -> bool:
    return path == end or path.endswith("." + end)


def _phi3_qkv(config: Mapping[str, Any], shape: tuple[int, ...]) -> Sequence[Piece]:
    """(q + k + v, hidden): the rows of q, then k, then v, fewer for k and v under grouped queries."""
    heads = config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    q, kv = heads * size, (config.get("num_key_value_heads") or heads) * size
    _expect(q + 2 * kv, shape[0])
    return [
        ("q_proj", None, (slice(0, q),)),
        ("k_proj", None, (slice(q, q + kv),)),
        ("v_proj", None, (slice(q + kv, None),)),
    ]


def _gate_up(config: Mapping[str, Any], shape: tuple[int, ...]) -> Sequence[Piece]:
    """(..., gate + up, hidden): two halves; of each expert, where experts are stacked."""
    half = shape[-2] // 2
    _expect(2 * half, shape[-2])
    return [
        (name, None, (*expert, rows))
        for expert in ([()] if len(shape) == 2 else [(e,) for e in range(shape[0])])
        for name, rows in (("gate_proj", slice(0, half)), ("up_proj", slice(half, None)))
    ]


def _gpt2_qkv(config: Mapping[str, Any], shape: tuple[int, ...]) -> Sequence[Piece]:
    """(hidden, 3 hidden), stored transposed: the columns of q, then k, then v."""
    third = shape[1] // 3
    _expect(3 * third, shape[1])
    names = ("q_proj", "k_proj", "v_proj")
    return [(name, None, (slice(None), slice(i * third, (i + 1) * third))) for i, name in enumerate(names)]


def _neox_qkv(config: Mapping[str, Any], shape: tuple[int, ...]) -> Sequence[Piece]:
    """(heads x 3 x head size, hidden): q, k, v of the first head, then of the second, ..."""
    heads = config["num_attention_heads"]
    size = shape[0] // (3 * heads)
    _expect(3 * heads * size, shape[0])
    view = (heads, 3, size, shape[1])
    return [(name, view, (slice(None), i)) for i, name in enumerate(("q_proj", "k_proj", "v_proj"))]


def _expect(from_config: int, found: int) -> None:
    if from_config != found:
        raise InputError(f"fused matrix of {found} rows or columns: config.json says {from_config}")


_MOE = Family(
    names={"gate": "router", "w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"},
    fused={"experts.gate_up_proj": _gate_up},
)
FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"), Family()),
    **dict.fromkeys(("mixtral", "qwen2_moe", "qwen3_moe"), _MOE),
    "phi3": Family(fused={"qkv_proj": _phi3_qkv, "gate_up_proj": _gate_up}),
    "mllama": Family(
        layers=r"(?:model\.)?language_model\.(?:model\.)?layers\.",
        outside={
            r"(?:model\.)?language_model\.(?:model\.)?embed_tokens": "embed_tokens",
            r"(?:language_model\.)?lm_head": "lm_head",
        },
    ),
    "gpt2": Family(
        layers=r"(?:transformer\.)?h\.",
        names={"attn.c_proj": "o_proj", "mlp.c_fc": "up_proj", "mlp.c_proj": "down_proj"},
        outside={r"(?:transformer\.)?wte": "embed_tokens", "lm_head": "lm_head"},
        fused={"attn.c_attn": _gpt2_qkv},
    ),
    "gpt_neox": Family(
        layers=r"(?:gpt_neox\.)?layers\.",
        names={"attention.dense": "o_proj", "dense_h_to_4h": "up_proj", "dense_4h_to_h": "down_proj"},
        outside={r"(?:gpt_neox\.)?embed_in": "embed_tokens", "embed_out": "lm_head"},
        fused={"query_key_value": _neox_qkv},
    ),
}


def family_of(config: Mapping[str, Any], layer_prefix: str | None = None) -> Family:
    """The family that a config.json names, or one whose layers have the given prefix.

    The prefix is a regular expression for what precedes the number of a layer, such as
    ``transformer.blocks.``; fused tensors of such a family count as one matrix.

    Raises:
        InputError: a family that is not known, or a prefix that is no regular expression.
    """
    if layer_prefix is not None:
        try:
            re.compile(layer_prefix)
        except re.error as e:
            raise InputError(f"layer prefix {layer_prefix!r}: not a regular expression ({e})") from e
        return Family(layers=f"(?:{layer_prefix})")
    model_type = str(config.get("model_type"))
    if model_type not in FAMILIES:
        raise InputError(
            f"model type {model_type!r}: expected one of {', '.join(FAMILIES)}, or give --layer-prefix"
        )
    return FAMILIES[model_type]


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of config.json that describes the language model."""
    return config.get("text_config") or config
