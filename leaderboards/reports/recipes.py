"""A reproduction's recipes -> which one is best, the best of each kind, and a table of all."""

from __future__ import annotations

from collections.abc import Callable

from points24.harness.experiment.best import Best, best_of, lead_of
from points24.harness.experiment.findings import of_recipe
from points24.harness.experiment.measures import Reproduction
from points24.harness.recovery.recipe import Recipe
from points24.leaderboards.render.tables import escape, markdown_table
from points24.leaderboards.reports.measure_cells import accuracy_cell, mean_cell

_SHARES = ("recovered, %", "retained, %", "harmonic mean, %")
_NAMED = 3
"""So many of the recipes that the halves pick are named."""
_DEFINED = (
    "*Recovered* is the share of the OOD accuracy lost between the best OOD checkpoint and the final one of "
    "SFT that is back; *retained* is the share of the ID accuracy gained between them that is kept. Pure "
    "reversion recovers everything and retains nothing. So recipes are compared by the harmonic mean of the "
    "two, each clipped to 0 … 100 %, which is 0 for either checkpoint itself."
)
_CROSSED = (
    "One row for each kind of recipe, by the same rule as the sentence: neither the deals nor the seeds that "
    "measure a recipe have picked it. Mean and 95 % interval {over}."
)


def best(found: Reproduction) -> list[str]:
    """The section on which recipe is best; nothing without recipes."""
    kinds = _kinds(found)
    if not kinds:
        return []
    rows = []
    for kind in kinds:
        each = best_of(found, _labels(found, lambda recipe, kind=kind: recipe.method.kind == kind))
        if each is not None:
            rows.append((each.merit.mean or 0, kind, each))
    rows.sort(key=lambda row: (-row[0], row[1]))
    cells = [[escape(kind), escape(_names(each)), f"{each.among}", *_shares(each)] for _, kind, each in rows]
    over = "over the seeds" if len(found.seeds) > 1 else "over the deals"
    table = [_CROSSED.format(over=over), markdown_table(["", "setting", "of", *_SHARES], cells, left=2)]
    return ["## Which recipe is best", _DEFINED, escape(best_sentence(found)), *(table if rows else [])]


def best_sentence(found: Reproduction) -> str:
    """The best recipe over the seeds, from how many it was picked, and whether spectral recipes lead."""
    overall = best_of(found, found.recipes())
    if overall is None or overall.recovered.mean is None:
        return "Which recipe is best cannot be told: these deals do not show a loss on OOD in every seed."
    recovered, retained = overall.recovered, overall.retained
    text = f"Best of {overall.among} recipes: {_names(overall)}. {_measured_by(found)} It recovers "
    text += f"{mean_cell(recovered, with_unit=True)} of what SFT lost on OOD"
    if not recovered.is_above(0):
        text += " (chance alone can explain that)"
    if retained.mean is None:
        text += "; what it retains on ID is not defined in every seed, so the recovered share picks"
    else:
        text += f" and retains {mean_cell(retained, with_unit=True)} of what it gained on ID"
    if overall.harmonic.mean is not None:
        text += f": harmonic mean {accuracy_cell(overall.harmonic, with_unit=True)}"
    return " ".join([f"{text}.", *_versus(found)]).replace("\\", "")


def _measured_by(found: Reproduction) -> str:
    others = " in the other seeds" if len(found.seeds) > 1 else ""
    return f"Each half of the deals measures the recipe that is best on the other half{others}."


def _versus(found: Reproduction) -> list[str]:
    spectral = best_of(found, _labels(found, lambda recipe: not recipe.method.is_baseline))
    baseline = best_of(found, _labels(found, lambda recipe: recipe.method.is_baseline))
    if spectral is None or baseline is None:
        return []
    lead = lead_of(found, spectral, baseline)
    if lead.is_above(0):
        end = "the spectral recipe is ahead"
    else:
        end = "the baseline is ahead" if lead.is_not_above(0) else "chance alone can explain that"
    means = [_merit(each) for each in (spectral, baseline)]
    return [
        f"Likewise, the best of {spectral.among} spectral recipes has {means[0]} ({_names(spectral)}), the "
        f"best of {baseline.among} baselines {means[1]} ({_names(baseline)}): "
        f"{mean_cell(lead, with_unit=True)}; {end}."
    ]


def _merit(best: Best) -> str:
    """The harmonic mean is within 0 and 100 %; a recovered share need not be."""
    cell = mean_cell if best.merit is best.recovered else accuracy_cell
    return cell(best.merit, with_unit=True)


def _names(best: Best) -> str:
    """``interpolate 0.75``, or ``interpolate 0.75, 11 of 12 halves; slerp 0.5, 1``."""
    if len(best.picks) == 1:
        return next(iter(best.picks))
    named = list(best.picks.items())[:_NAMED]
    rest = best.halves - sum(count for _, count in named)
    counted = [*named, *([("others", rest)] if rest else [])]
    return "; ".join(
        f"{label}, {count}" + ("" if place else f" of {best.halves} halves")
        for place, (label, count) in enumerate(counted)
    )


def _shares(best: Best) -> list[str]:
    return [mean_cell(best.recovered), mean_cell(best.retained), accuracy_cell(best.harmonic)]


def _kinds(found: Reproduction) -> list[str]:
    return list(dict.fromkeys(recipe.method.kind for recipe in _recipes(found).values()))


def _labels(found: Reproduction, wanted: Callable[[Recipe], bool]) -> list[str]:
    return [label for label, recipe in _recipes(found).items() if wanted(recipe)]


def _recipes(found: Reproduction) -> dict[str, Recipe]:
    """Label -> recipe, in the order of the table of all."""
    recipes = {r.recipe.label: r.recipe for each in found.recoveries if each for r in each.checkpoints}
    return {label: recipes[label] for label in found.recipes()}


def every(found: Reproduction) -> list[str]:
    """The table of all recipes, for the appendix; nothing without recipes."""
    labels = found.recipes()
    if not labels:
        return []
    rows = []
    for label in labels:
        recovered, retained, harmonic, ood, of_id = of_recipe(found, label)
        cells = (mean_cell(recovered), mean_cell(retained), accuracy_cell(harmonic))
        rows.append([escape(label), *cells, accuracy_cell(ood), accuracy_cell(of_id)])
    return [
        "### Every recipe",
        "Kind by kind, the highest harmonic mean first (or recovered share, where SFT gained nothing on ID "
        "to retain). Here the same deals and seeds rank and measure, which flatters the first of each kind.",
        markdown_table(["", *_SHARES, "OOD, %", "ID, %"], rows),
    ]
