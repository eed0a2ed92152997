"""A recovery -> the lines of its figures. Pure: values in, values out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from points24.harness.analysis.recovery import Recovered, Recovery
from points24.harness.recovery.recipe import Recipe

KINDS = (
    *("directions", "values", "both", "paper-scripts", "delta-rank", "dg-hard", "reset", "interpolate"),
    *("slerp", "lines", "soup", "task-arithmetic", "ties", "dare", "della"),
)
"""What a recipe restores, or a baseline's method, in the order of a legend."""
_ENDS = ("top", "first", "tail", "last", "top + tail", "")
"""Of the spectrum or of the layers, in the order of a legend."""


@dataclass(frozen=True)
class Series:
    """The recovered checkpoints of one line."""

    label: str
    kind: str
    variant: str
    """Modules, taper and so on, in words; empty for the usual ones."""
    end: str
    """Of the spectrum or of the layers: ``top``, ``first``, ``tail``, ``last``, or empty."""
    points: tuple[tuple[float, Recovered], ...]
    """By x, a share or a weight in 0 … 1; ascending."""

    @property
    def recipe(self) -> Recipe:
        """Of the first point; the others differ in x alone."""
        return self.points[0][1].recipe


def ranks_series(found: Recovery) -> list[Series]:
    """Spectral recipes over all layers, by their share of the ranks: a line per kind and end."""
    chosen = [r for r in found.checkpoints if not r.recipe.method.is_baseline and r.recipe.layers.share == 1]
    return _series(chosen, lambda r: r.recipe.method.rank_share, _rank_end)


def layers_series(found: Recovery) -> list[Series]:
    """Recipes that restore whole layers, by their share of the layers: a line per kind and end."""
    chosen = [r for r in found.checkpoints if r.recipe.method.restores_whole_layers]
    return _series(chosen, lambda r: r.recipe.layers.share, lambda r: r.recipe.layers.end or "")


def weight_series(found: Recovery) -> list[Series]:
    """Baselines over all layers, by their weight."""
    chosen = [r for r in found.checkpoints if r.recipe.method.is_baseline and r.recipe.layers.share == 1]
    return _series(chosen, lambda r: r.recipe.weight, lambda _: "")


def kinds(found: Recovery) -> list[str]:
    """The figures that have two points or more: of ``ranks``, ``layers`` and ``front``."""

    def points(series: Sequence[Series]) -> int:
        return len({id(checkpoint) for each in series for _, checkpoint in each.points})

    counts = {"ranks": points(ranks_series(found)), "layers": points(layers_series(found))}
    counts["front"] = sum(checkpoint.id is not None for checkpoint in found.checkpoints)
    return [kind for kind, count in counts.items() if count > 1]


def kind_order(kind: str) -> int:
    """The place of a recipe's kind in a legend; unknown kinds come last."""
    return KINDS.index(kind) if kind in KINDS else len(KINDS)


def _rank_end(recovered: Recovered) -> str:
    parts = recovered.recipe.ranks.parts if recovered.recipe.ranks else ()
    return " + ".join(sorted({end for end, _ in parts}, reverse=True))


def _series(
    checkpoints: Sequence[Recovered],
    x: Callable[[Recovered], float | None],
    end: Callable[[Recovered], str],
) -> list[Series]:
    """A series per kind, variant and end. Full restoration (x = 1) has no end: it closes every line."""
    groups: dict[tuple[str, str], dict[str | None, list[tuple[float, Recovered]]]]
    groups = defaultdict(lambda: defaultdict(list))
    for each in checkpoints:
        if (at := x(each)) is not None:
            lines = groups[each.recipe.method.kind, each.recipe.method.variant]
            lines[None if at == 1 else end(each)].append((at, each))
    found = []
    for kind, variant in sorted(groups, key=lambda key: (kind_order(key[0]), key)):
        lines = groups[kind, variant]
        whole = lines.pop(None, [])
        for name in [each for each in _ENDS if each in (lines or ("",))]:
            label = ", ".join(filter(None, (kind, name, variant)))
            points = sorted([*lines.get(name, []), *whole], key=lambda point: point[0])
            found.append(Series(label, kind, variant, name, tuple(points)))
    return found
