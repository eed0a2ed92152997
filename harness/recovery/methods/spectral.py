"""Restore singular directions or values of the source, matrix by matrix, at chosen ranks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from points24.harness.recovery.methods.method import Method, about, register
from points24.harness.recovery.specs import (
    RESTORE,
    Amount,
    Cut,
    RankSpec,
    in_words,
    parse_amount,
    parse_ranks,
)
from points24.tasks.errors import InputError


def _restore(kind: str) -> str:
    if kind not in RESTORE:
        raise InputError(f"restore: expected {' or '.join(RESTORE)}, found {kind!r}")
    return kind


RESTORE_SETTING = about("directions (default), values or both", _restore, str)
RANKS_SETTING = about(
    "'top 20%', 'tail 5%', 'top 20% + tail 5%', 'top 128', all",
    parse_ranks,
    example="'top 20%', 'top 128', all, ...",
)


@register
@dataclass(frozen=True, kw_only=True)
class Spectral(Method):
    """The formula is in `points24.harness.recovery.spectral.splice`."""

    name: ClassVar[str] = "spectral"
    is_baseline: ClassVar[bool] = False

    restore: str = field(default="directions", metadata=RESTORE_SETTING)
    ranks: RankSpec = field(metadata=RANKS_SETTING)
    taper: Amount | None = field(
        default=None, metadata=about("ranks over which a cut is spread, such as 5% or 16", parse_amount)
    )

    def cut(self, ranks: int) -> Cut:
        taper = 0 if self.taper is None else self.taper.of(ranks)
        return Cut(self.restore, self.ranks.intervals(ranks), taper)

    def describe(self) -> dict[str, Any]:
        settings = {"restore": self.restore, "ranks": self.ranks.text, "modules": self.modules}
        if self.taper is not None:
            settings["taper"] = self.taper.text
        return settings

    @property
    def kind(self) -> str:
        return self.restore

    @property
    def label(self) -> str:
        return f"{self.restore}, {in_words(self.ranks.text, self.ranks.share, 'ranks')}"

    @property
    def short(self) -> str:
        return "" if self.ranks.text == "all" else self.ranks.text

    @property
    def variant(self) -> str:
        return ", ".join(filter(None, (" ".join(self.modules or ()), *self._others)))

    @property
    def folder(self) -> tuple[str, str]:
        after = filter(None, (self._modules_in_words(), *self._others))
        return f"{self.restore} {self.ranks.text}", " ".join(after)

    @property
    def rank_share(self) -> float | None:
        return self.ranks.share

    @property
    def restores_whole_layers(self) -> bool:
        return self.ranks.share == 1

    @property
    def _others(self) -> list[str]:
        return [] if self.taper is None else [f"taper {self.taper.text}"]
