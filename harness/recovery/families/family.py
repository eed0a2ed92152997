"""Which tensors of a checkpoint are what: the layer, the module, and the matrices inside fused tensors.

A tensor that fuses several modules, or stacks experts, counts as several matrices, each with its own
singular directions. A tensor is a matrix only where the family's table says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor

Index = tuple[int | slice, ...]
Piece = tuple[str, tuple[int, ...] | None, Index]
"""Module, shape to view the tensor in (None: its own), index into that."""
Layout = Callable[[Mapping[str, Any], tuple[int, ...]], Sequence[Piece]]
"""(text config, shape of the tensor) -> its matrices."""

LAYERS = r"(?:model\.)?(?:language_model\.)?(?:model\.)?layers\."
"""Of bare models, models with a head, and language models inside one of text and images."""
OUTSIDE = {
    r"(?:model\.)?(?:language_model\.)?(?:model\.)?embed_tokens": "embed_tokens",
    r"(?:model\.)?(?:language_model\.)?lm_head": "lm_head",
}
ATTENTION: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")
_LATENT: tuple[str, ...] = ("q_a_proj", "q_b_proj", "kv_a_proj", "k_rope_proj", "k_b_proj", "v_b_proj")
_GROUPS: dict[str, str] = {
    **dict.fromkeys((*ATTENTION, *_LATENT), "attention"),
    **dict.fromkeys(MLP, "mlp"),
}
"""Module -> its group. Experts' matrices belong to the group `experts` as well."""
_CONTAINERS = re.compile(r"^(?:(?:model|language_model|transformer|gpt_neox|backbone)\.)+")


@dataclass(frozen=True)
class Matrix:
    """One matrix inside a tensor."""

    tensor: str
    module: str
    layer: int | None
    """None outside the layers."""
    reshaped: tuple[int, ...] | None
    index: Index
    is_expert: bool = False
    """Whether it is a routed expert's."""

    @property
    def names(self) -> frozenset[str]:
        """What it can be chosen by: its module, and the groups of modules that it belongs to."""
        groups = {_GROUPS.get(self.module), "experts" if self.is_expert else None}
        return frozenset({self.module, *filter(None, groups)})

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

    @property
    def step(self) -> int:
        """How many elements of the flat tensor lie from one column of the matrix to the next."""
        last = self.index[-1] if len(self.index) > 1 else None
        return last.step or 1 if isinstance(last, slice) else 1

    def shape(self, tensor_shape: tuple[int, ...]) -> tuple[int, int]:
        """(rows, cols) in a tensor of that shape."""
        rows, cols = self.matrix(torch.empty(tensor_shape, device="meta")).shape
        return rows, cols

    def _view(self, tensor: Tensor) -> Tensor:
        return (tensor if self.reshaped is None else tensor.view(self.reshaped))[self.index]


@dataclass(frozen=True)
class Family:
    """How one family of models names its tensors."""

    modules: Mapping[str, str | Layout] = field(default_factory=dict)
    """The end of a path in a layer -> our name for the matrix, or the layout of several; the longest wins."""
    layers: str = LAYERS
    """What precedes the number of a layer, a regular expression."""
    outside: Mapping[str, str] = field(default_factory=lambda: OUTSIDE)
    """The path of a matrix outside the layers, a regular expression -> our name for it."""
    kept: tuple[str, ...] = ()
    """The ends of the paths of weights that are no matrices, such as a convolution's."""
    depth: int | None = None
    """How many layers the model has; those beyond (to predict further tokens) are not its own."""

    def layer(self, tensor: str) -> int | None:
        """The layer that a tensor belongs to."""
        found = self._inside(tensor)
        return None if found is None else found[0]

    def is_head(self, tensor: str) -> bool:
        """Whether it is the output layer, which checkpoints omit where it is tied to the embeddings."""
        path = tensor.removesuffix(".weight")
        return any(re.fullmatch(p, path) and module == "lm_head" for p, module in self.outside.items())

    def parts(self, tensor: str, shape: tuple[int, ...], config: Mapping[str, Any]) -> list[Matrix]:
        """The matrices inside a tensor of that shape; none in biases, norms and unknown tensors.

        Raises:
            InputError: a fused tensor has another shape than the configuration says.
        """
        path = tensor.removesuffix(".weight")
        for pattern, module in self.outside.items():
            if re.fullmatch(pattern, path) and len(shape) == 2:
                return [Matrix(tensor, module, None, None, ())]
        found = self._inside(tensor)
        if found is None or len(shape) not in (2, 3):
            return []
        layer, path = found
        how = self._known(path)
        is_expert = "experts" in path.split(".") or len(shape) == 3
        if how is None:
            return []
        if callable(how):
            return [Matrix(tensor, m, layer, view, i, is_expert) for m, view, i in how(config, shape)]
        if len(shape) == 2:
            return [Matrix(tensor, how, layer, None, (), is_expert)]
        return [Matrix(tensor, how, layer, None, (expert,), is_expert) for expert in range(shape[0])]

    def is_unclear(self, tensor: str, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of a layer looks like one matrix or several that the family does not know."""
        found = self._inside(tensor)
        if found is None or len(shape) < 2:
            return False
        _, path = found
        is_weight = tensor.endswith(".weight") or ("experts" in path.split(".") and "bias" not in path)
        return is_weight and self._known(path) is None and not any(_ends(path, end) for end in self.kept)

    def plain_name(self, tensor: str) -> str:
        """A tensor's name without its containers, which depend on how a model was saved."""
        return _CONTAINERS.sub("", tensor).replace("vision_tower.vision_model.", "vision_tower.")

    def _inside(self, tensor: str) -> tuple[int, str] | None:
        """The layer of a tensor, and the path in it."""
        match = re.match(rf"(?:{self.layers})(?P<number>\d+)\.(?P<path>.+)", tensor)
        if match is None or (self.depth is not None and int(match["number"]) >= self.depth):
            return None
        return int(match["number"]), match["path"].removesuffix(".weight")

    def _known(self, path: str) -> str | Layout | None:
        end = max((end for end in self.modules if _ends(path, end)), key=len, default=None)
        return None if end is None else self.modules[end]


def _ends(path: str, end: str) -> bool:
    return path == end or path.endswith("." + end)
