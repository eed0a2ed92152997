"""A reproduction of the paper's experiment -> a report: a function of its manifest and records alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from points24.harness.analysis.formats import percent
from points24.harness.experiment.findings import findings
from points24.harness.experiment.manifest import Seed
from points24.harness.experiment.measures import Measure, Reproduction
from points24.harness.experiment.values import Value, accuracy, plain_hands, verdict_share
from points24.harness.experiment.verdicts import ABOVE_RULE, Claim, Finding
from points24.harness.records.record import Record
from points24.leaderboards.figures import (
    DRIFT,
    FIGURES,
    FRONT,
    OVERVIEW,
    RECOVERIES,
    SHIFT,
    reproduction_figures,
)
from points24.leaderboards.render.tables import escape, markdown_table
from points24.leaderboards.reports import recipes, shift, trainings
from points24.leaderboards.reports.measure_cells import (
    UNITS,
    accuracy_cell,
    bounded_cell,
    bounds_cell,
    mean_cell,
    value_cell,
)
from points24.tasks.verdict import FLEXIBLE, STRICT, Verdict

_ALT = {
    OVERVIEW: "ID and OOD accuracy (strict-match and flexible-extract) and the share of wrong_rule over the "
    "SFT steps, with the final checkpoints of PPO and the recovered ones",
    DRIFT: "misalignment of singular vectors by tenth of the spectrum, and over the SFT steps",
    FRONT: "ID against OOD accuracy of every recipe, with the Pareto front",
    RECOVERIES: "OOD and ID accuracy and the harmonic mean of every recipe",
    SHIFT: "accuracy, rule preference, losses and divergence from the base over the SFT steps, and the "
    "hidden states of the last prompt token",
}
_FIGURE_OF = {"2a": DRIFT}
"""The label of a finding's first claim -> the figure that belongs to the finding."""
_Column = tuple[Callable[[str], Record | None], Callable[[Record | None], Value | None]]
"""Model -> the record to read, and record -> the number to show."""

_LIMITS = (
    "Seeds vary the fine-tuning, not the base: all runs start from one set of weights, so nothing here "
    "applies to other bases or sizes.",
    "The config chooses how long PPO runs and from which checkpoints. A start from which it gains nothing "
    "might gain with more steps or other rewards.",
    "Every reply is a single attempt; the paper counts up to five with feedback, on 234 deals.",
    "With few seeds the intervals over the seeds are wide. *Inconclusive* is not evidence that there is "
    "no effect.",
    "The best OOD checkpoint is picked by the deals that also measure what is lost against it. This "
    "overstates the losses, except in the first finding, which avoids it, and lowers the shares recovered.",
    "Each verdict stands alone: none is adjusted for the number of findings.",
    "The paper reports 70 to 80 % *of the OOD performance*; here this is read as the share of what was lost.",
)


def markdown(name: str, found: Reproduction, others: Mapping[str, Reproduction] | None = None) -> str:
    """The report of the reproduction in the folder `name`; `others` are the trainings to compare it with.

    It shows the figures, in `FIGURES` beside it, whether or not they are drawn yet.
    """
    every = findings(found)
    shown = {plot.kind: path for path, plot in reproduction_figures(name, found).items()}

    def figure(kind: str | None) -> list[str]:
        return [f"![{_ALT[kind]}]({FIGURES}/{shown[kind]})"] if kind and kind in shown else []

    parts = [
        "# The paper's experiment, reproduced",
        _about(name, found),
        _verdicts(every),
        *figure(OVERVIEW),
    ]
    for each in every:
        parts += [*_section(each), *figure(_FIGURE_OF.get(each.claims[0].label))]
    parts += trainings.section(found, others or {})
    parts += shift.section(found.shifts, figure(SHIFT))
    parts += [*recipes.best(found), *figure(FRONT), *_checkpoints(found)]
    parts += [
        "## Limits",
        "\n".join(f"- {line}" for line in (_nature(found), *_LIMITS)),
        *_appendix(every, found),
        *figure(RECOVERIES),
        *_run_time(found),
    ]
    return "\n\n".join(parts) + "\n"


# -- the lead --------------------------------------------------------------------------------------------


def _about(name: str, found: Reproduction) -> str:
    manifest, first = found.manifest, found.seeds[:1]
    starts = ", ".join(
        f"{start} ({_steps(found, [seed.ppo[start].start for seed in first])})" for start in found.starts
    )
    ppo = f" PPO on the same rule starts from the SFT checkpoints {starts}." if starts else ""
    source = _steps(found, [seed.best_ood for seed in found.seeds])
    target = _steps(found, [seed.final for seed in found.seeds])
    return (
        f"The experiment of [arXiv:2508.16546](https://arxiv.org/abs/2508.16546) with the base model "
        f"{escape(manifest.base)} and the config {escape(manifest.config)}, {_seeds(found)}. SFT uses the "
        f"ID rule alone.{ppo} Recovery restores directions or values of the SFT checkpoint that is best on "
        f"OOD ({source}) in the final one ({target}). Generated from `reproduction/{name}` by "
        "`points24 leaderboard build`."
    )


def _seeds(found: Reproduction) -> str:
    return "one seed" if len(found.seeds) == 1 else f"{len(found.seeds)} seeds"


def _steps(found: Reproduction, models: Sequence[str]) -> str:
    """The steps of checkpoints: ``step 20``, or where seeds differ ``steps 20, 30, 20 by seed``."""
    steps = [str(found.get(model, "ood").step) for model in models]
    return f"step {steps[0]}" if len(set(steps)) == 1 else f"steps {', '.join(steps)} by seed"


def _verdicts(every: Sequence[Finding]) -> str:
    rows = [
        [f"**{claim.label}** {claim.what}", claim.paper, _key_figures(claim), f"*{claim.verdict}*"]
        for each in every
        for claim in each.claims
    ]
    return markdown_table(["finding", "paper", "here", "verdict"], rows, left=4)


def side_by_side(made: Mapping[str, Reproduction]) -> str:
    """Every finding in the paper and in each reproduction, as a Markdown table; `made` has their names."""
    claims = {
        name: {claim.label: claim for finding in findings(found) for claim in finding.claims}
        for name, found in made.items()
    }
    every = {label: claim for own in claims.values() for label, claim in own.items()}

    def cell(claim: Claim | None) -> str:
        return f"*{claim.verdict}*: {_key_figures(claim)}" if claim else "not asked"

    rows = [
        [
            f"**{label}** {every[label].what}",
            every[label].paper,
            *(cell(own.get(label)) for own in claims.values()),
        ]
        for label in sorted(every)
    ]
    headers = [f"[{escape(found.manifest.base)}]({name}.md), {_seeds(found)}" for name, found in made.items()]
    return markdown_table(["finding", "paper", *headers], rows, left=2 + len(made))


def _key_figures(claim: Claim) -> str:
    """The first deciding number that leaves the claim open or contradicts it, else the first; the caveat."""
    key = next((m for m in claim.decides if not m.is_above(0)), claim.decides[0])
    caveat = claim.caveat if claim.caveat and claim.caveat.mean is not None else None
    return "; ".join(f"{escape(m.name)}: {mean_cell(m, with_unit=True)}" for m in (key, caveat) if m)


def _section(found: Finding) -> list[str]:
    lines = [f"## {found.title}", f"The paper ({found.source}): {found.paper}"]
    for claim in found.claims:
        lines += [f"**{claim.label}, {claim.what}: {claim.verdict}.**", _means(claim)]
    return [*lines, found.note] if found.note else lines


def _means(claim: Claim) -> str:
    """The measures that have a mean over the seeds; the deciding ones in bold, defined or not."""
    shown = [m for m in (*claim.decides, *claim.context) if m in claim.decides or m.mean is not None]
    if all(len(measure.values) == 1 for measure in shown):
        return markdown_table(["", "over the deals"], [[_name(m, claim), mean_cell(m)] for m in shown])
    rows = [
        [_name(m, claim), bounded_cell(m, m.over_seeds), bounds_cell(m.over_deals, m.unit)] for m in shown
    ]
    return markdown_table(["", "mean, over the seeds", "over the deals"], rows)


def _name(measure: Measure, claim: Claim) -> str:
    name = escape(measure.name) + (f", {UNITS[measure.unit]}" if UNITS[measure.unit] else "")
    return f"**{name}**" if measure in claim.decides else name


_FEW = 0.2
"""The share of ID deals below which wins are too few to tell much."""


def _nature(found: Reproduction) -> str:
    """Whether the base wins at all, and if, whether by heart: by the numbers that no trainer draws."""
    base = found.manifest.base
    of_all, held_out = (found.find(base, name, FLEXIBLE) for name in ("id", "id_heldout"))
    if of_all and of_all.k / of_all.n < _FEW:
        return (
            f"The base wins {percent(of_all.k / of_all.n)} % of the ID deals in any format: few replies tell "
            "what it loses and regains, and shares of so small a loss are hardly known."
        )
    if of_all and held_out and held_out.k / held_out.n > of_all.k / of_all.n / 2:
        return (
            f"The base works hands out: in any format it wins {percent(held_out.k / held_out.n)} % of the "
            f"held-out numbers and {percent(of_all.k / of_all.n)} % of all. Still it is a small model that "
            "knows one game: forgetting, RL and recovery may act differently on a language model."
        )
    return (
        "The base wins most hands because it was trained on them, not because it searches. The held-out "
        "column shows what is left on numbers that no trainer draws. Forgetting, RL and recovery may act "
        "differently on reasoning than on memorised hands."
    )


# -- checkpoints and appendix ----------------------------------------------------------------------------


def _checkpoints(found: Reproduction) -> list[str]:
    """What the benchmark shows besides the paper's accuracies."""

    def played(hand_set: str, name: str = STRICT) -> Callable[[str], Record | None]:
        return lambda model: found.find(model, hand_set, name)

    scores: dict[str, _Column] = {
        "ID": (played("id"), accuracy),
        "ID, flexible": (played("id", FLEXIBLE), accuracy),
        "held-out": (played("id_heldout"), accuracy),
        "OOD": (played("ood"), accuracy),
        "OOD, flexible": (played("ood", FLEXIBLE), accuracy),
        "OOD wrong\\_rule": (played("ood"), lambda record: verdict_share(record, Verdict.WRONG_RULE)),
    }
    cells: dict[str, _Column] = {
        "face, ID rule": (played("face_id"), accuracy),
        "face, OOD rule": (played("ood"), accuracy),
        "no face, ID rule": (played("id"), plain_hands),
        "no face, OOD rule": (played("plain_ood"), accuracy),
    }
    over = (
        "with Wilson's interval"
        if len(found.seeds) == 1
        else "mean over the seeds with Student's interval, within 0 and 100; for the base, which all share, "
        "Wilson's"
    )
    return [
        "## What this benchmark adds",
        f"Accuracy of the main checkpoints, in percent ({over}). `wrong_rule` is the share of OOD replies "
        "that are right if J, Q and K count as 10: the memorised rule, seen directly. Flexible is "
        "flexible-extract: the last formula that a reply commits to, in any format.",
        _parts_table(found, scores),
        "The OOD set differs from the ID set in two ways: the rule, and a face card in every hand. The 2x2 "
        "of hands and rule separates them. A memorised rule lowers the second column alone. A prompt that "
        "confuses by itself lowers the fourth as well, where both rules give the same answers.",
        _parts_table(found, cells),
    ]


def _parts_table(found: Reproduction, columns: Mapping[str, _Column]) -> str:
    def measured(part: str, column: _Column) -> Measure:
        record_of, value_of = column
        return found.over_seeds(
            part,
            "percent",
            lambda _, seed: value_of(record_of(found.parts(seed)[part])),
            seeds=1 if part == "base" else None,
        )

    rows = [
        [part, *(accuracy_cell(measured(part, column)) for column in columns.values())]
        for part in found.parts(found.seeds[0])
    ]
    return markdown_table(["", *columns], rows)


def _appendix(every: Sequence[Finding], found: Reproduction) -> list[str]:
    claims = [claim for each in every for claim in each.claims]
    several = len(found.seeds) > 1
    over = (
        "In the column of a seed, the interval is over the deals (Tango's for a difference, Fieller's for a "
        "share, Wilson's for an accuracy). The mean over the seeds has two: over the seeds, by Student's t "
        "with one degree of freedom less than seeds; and over the deals, of these runs' mean outcomes, by "
        "Student's t as well."
        if several
        else "There is one seed: every interval is over the deals and tells nothing about another run."
    )
    notes = [
        "All intervals are at 95 %. " + over,
        ABOVE_RULE,
        "The measures that decide are in bold. Differences are in percentage points, over the same deals. "
        "The filter is strict-match where no other is named.",
    ]
    parts = [
        "## Appendix",
        "### Rules",
        "\n".join(f"- {line}" for line in notes),
        "\n".join(f"- **{claim.label}** holds if {claim.rule}." for claim in claims),
    ]
    if several:
        parts.append("### Seeds")
        for claim in claims:
            parts += [f"**{claim.label}** {claim.what}", _by_seed(claim, found.seeds)]
    return [*parts, *recipes.every(found)]


def _by_seed(claim: Claim, seeds: Sequence[Seed]) -> str:
    rows = [
        [_name(measure, claim), *(value_cell(value, measure.unit) for value in measure.values)]
        for measure in (*claim.decides, *claim.context)
    ]
    return markdown_table(["", *(f"seed {seed.seed}" for seed in seeds)], rows)


def _run_time(found: Reproduction) -> list[str]:
    seeds = len(found.seeds)
    kinds: dict[str, float] = defaultdict(float)
    for stage, seconds in found.manifest.seconds.items():
        kinds[stage.rpartition("-")[0] or stage] += seconds
    whole = sum(kinds.values())
    rows = [[escape(kind), duration(seconds / seeds)] for kind, seconds in kinds.items()]
    return [
        "### Run time",
        f"On {escape(found.manifest.machine)}: {duration(whole / seeds)} a seed, {duration(whole)} in all.",
        markdown_table(["stage", "a seed"], rows),
    ]


def duration(seconds: float) -> str:
    """``48 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"
