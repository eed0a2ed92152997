"""What the scripts of arXiv:2508.16546 do (its repository's analysis/svd_recover*.py), flaws included.

Everything is fp16: both checkpoints are rounded to it before anything else, and so is the result. Every
two-dimensional tensor is one matrix, embeddings, output layer and fused tensors included; the others are
the target's. With W = U S Vᵀ by an fp32 SVD, the chosen ranks of U and V (`both`: of S too) are the
source's. Where they are all ranks of a matrix, it is the source's, values included. The ranks are counts,
2560 to 4096 in the paper, so that is what happens to every matrix with a shorter side.

A run on some layers (svd_recover_by_layer.py) leaves the others alone, but for Llama it also restores the
embeddings and the output layer; the script for Qwen does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from points24.harness.recovery.methods.method import Combination, Tensor, Versions, about, register
from points24.harness.recovery.methods.spectral import RANKS_SETTING, RESTORE_SETTING
from points24.harness.recovery.specs import RankSpec, in_words
from points24.tasks.errors import InputError

SCRIPTS = ("llama", "qwen")
_OUTSIDE = frozenset({"embed_tokens", "lm_head"})


def _script(name: str) -> str:
    if name not in SCRIPTS:
        raise InputError(f"script: expected {' or '.join(SCRIPTS)}, found {name!r}")
    return name


@register
@dataclass(frozen=True, kw_only=True)
class PaperScripts(Combination):
    """Whole tensors, in fp16."""

    name: ClassVar[str] = "paper-scripts"
    keeps_equal: ClassVar[bool] = False  # an fp32 SVD multiplied out again is not quite the matrix
    dtype: ClassVar[str | None] = "F16"

    restore: str = field(default="directions", metadata=RESTORE_SETTING)
    ranks: RankSpec = field(metadata=RANKS_SETTING)
    script: str = field(
        default="llama",
        metadata=about("whose script, which matters with --layers: llama (default) or qwen", _script, str),
    )

    def __post_init__(self) -> None:
        if self.modules is not None:
            raise InputError(f"modules does not go with method {self.name}")

    def changes_tensor(
        self, modules: frozenset[str], layer: int | None, chosen: frozenset[int], count: int
    ) -> bool:
        if layer is None and len(chosen) < count:
            return self.script == "llama" and not modules.isdisjoint(_OUTSIDE)
        return layer is None or layer in chosen

    def new_tensor(self, of: Versions) -> Tensor:
        from points24.harness.recovery.spectral.paper_scripts import replaced

        target = of.target.half()
        if target.dim() != 2:
            return target
        return replaced(of.source.half(), target, self.restore, self.ranks.intervals(min(target.shape)))

    def describe(self) -> dict[str, Any]:
        return {"restore": self.restore, "ranks": self.ranks.text, "script": self.script}

    @property
    def label(self) -> str:
        return f"{self.name}, {self.restore}, {in_words(self.ranks.text, self.ranks.share, 'ranks')}"

    @property
    def short(self) -> str:
        return f"{self.restore}, {self.ranks.text}"

    @property
    def variant(self) -> str:
        return "" if self.script == "llama" else f"{self.script}'s script"

    @property
    def folder(self) -> tuple[str, str]:
        return f"{self.name} {self.restore} {self.ranks.text}", "" if self.script == "llama" else self.script

    @property
    def rank_share(self) -> float | None:
        return self.ranks.share
