"""A reproduction beside other trainings -> what each can do, forgets and regains, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from points24.harness.experiment.measures import Measure, Reproduction
from points24.harness.experiment.trainings import REGAINED, RULE, Contrast, Training, contrasts, trainings_of
from points24.leaderboards.render.tables import escape, markdown_table
from points24.leaderboards.reports.measure_cells import accuracy_cell, mean_cell

_COLUMNS = {
    "id": "ID",
    "id_heldout": "ID, held-out",
    "ood": "OOD",
    "ood_heldout": "OOD, held-out",
    "contradiction": "contradiction",
    "five_cards": "five cards",
}
_MAIN = "as above"
_ABOUT = (
    "The same experiment with other trainings. Accuracy of the final SFT checkpoint, in percent, and how "
    "far OOD accuracy falls from its peak, in points. Held-out: numbers that SFT never deals. "
    "Contradiction: the prompt states the OOD rule and the ID rule judges, so the share is that of a rule"
    " that is not read. Five cards: a deal of five, under the ID rule."
)
_REGAINED = (
    "OOD accuracy of that checkpoint after PPO and GRPO from there, and with all directions of the best "
    "OOD checkpoint, or half of the way back to it; with the share of the fall that is recovered, where "
    "there is one. Minutes of SFT with the scores of its checkpoints, and of each run of RL, on one core."
)


def section(found: Reproduction, others: Mapping[str, Reproduction]) -> list[str]:
    """The section; nothing without other trainings."""
    if not others:
        return []
    every = trainings_of(found, _MAIN, others)
    compared = contrasts(found, others)
    return [
        "## Other trainings",
        _ABOUT,
        _scores(every),
        "\n".join(f"- {_sentence(each)}" for each in compared),
        _REGAINED,
        _after(every),
        RULE,
    ]


def _scores(every: Sequence[Training]) -> str:
    rows = [
        [
            escape(each.name),
            *(accuracy_cell(each.accuracies[name]) for name in _COLUMNS),
            mean_cell(each.fall),
        ]
        for each in every
    ]
    return markdown_table(["", *_COLUMNS.values(), "OOD fall"], rows)


def _after(every: Sequence[Training]) -> str:
    rows = [
        [escape(each.name), *(_regained(each, what) for what in REGAINED), *_minutes(each.seconds)]
        for each in every
    ]
    return markdown_table(["", *(f"after {what}" for what in REGAINED), "SFT", "PPO", "GRPO"], rows)


def _regained(training: Training, what: str) -> str:
    share = training.shares[what]
    return accuracy_cell(training.regained[what]) + (f"; {_whole(share)}" if share.mean is not None else "")


def _whole(share: Measure) -> str:
    return f"{mean_cell(share, with_unit=True)} recovered"


def _minutes(seconds: Mapping[str, float]) -> list[str]:
    kinds = ("sft", "ppo-late", "grpo-late")
    return [f"{seconds[kind] / 60:.1f}" if kind in seconds else "" for kind in kinds]


def _sentence(contrast: Contrast) -> str:
    """``**diverse**: removes the forgetting: *holds* (it falls 3.1 points less …); …``."""
    return (
        f"**{escape(contrast.name)}** removes the forgetting: *{contrast.removes}* (falls "
        f"{mean_cell(contrast.saved)} points less); makes recovery needless: *{contrast.needless}* (OOD "
        f"{mean_cell(contrast.ahead)} points from what interpolation regains above)."
    )
