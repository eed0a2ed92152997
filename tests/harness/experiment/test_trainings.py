"""A made-up experiment beside the same one with other trainings."""

import pytest

from points24.harness.experiment.trainings import contrasts, trainings_of
from points24.harness.experiment.verdicts import FAILS, HOLDS, OPEN
from points24.leaderboards.reports import reproduction, trainings
from tests.harness.experiment.test_measures import OOD, RECIPES, found

FLAT = OOD | {20: 0.34, 40: 0.34, 100: 0.35, 200: 0.34, 400: 0.345}
"""A training that forgets nothing."""
LESS = OOD | {400: 0.2}
"""One that forgets about half as much."""


def verdicts(ood, **changes):
    (found_,) = contrasts(found(), {"other": found(ood=ood, **changes)})
    return found_.removes, found_.needless


@pytest.mark.parametrize(
    ("ood", "expected"), [(FLAT, (HOLDS, HOLDS)), (OOD, (FAILS, FAILS)), (LESS, (OPEN, FAILS))]
)
def test_a_training_removes_the_forgetting_by_the_rule(ood, expected):
    assert verdicts(ood) == expected


def test_the_numbers_of_a_training_are_those_of_its_records():
    main, other = trainings_of(found(), "main", {"flat": found(ood=FLAT, ppo={"late": 0.4})})
    assert (main.name, other.name) == ("main", "flat")
    assert main.accuracies["ood"].mean == pytest.approx(0.04, abs=0.003)
    assert other.accuracies["ood"].mean == pytest.approx(0.345, abs=0.005)
    assert main.fall.mean == pytest.approx(0.31, abs=0.02)
    assert other.regained["PPO"].mean == pytest.approx(0.4, abs=0.01)
    assert main.regained["interpolation"].mean == pytest.approx(0.25, abs=0.01)
    assert main.shares["interpolation"].mean == pytest.approx((0.25 - 0.04) / (0.35 - 0.04), abs=0.03)
    assert main.regained["GRPO"].mean is None
    assert main.accuracies["five_cards"].mean is None
    assert main.seconds["sft"] == pytest.approx(301.2)


def test_only_the_seeds_of_both_are_compared():
    (contrast,) = contrasts(found(), {"other": found(seeds=2, ood=FLAT)})
    assert len(contrast.saved.values) == len(contrast.ahead.values) == 2


def test_what_one_training_did_not_do_is_left_empty():
    others = {"bare": found(ppo={}, recipes={"half": RECIPES["half"]}, reverse={})}
    text = "\n".join(trainings.section(found(), others))
    (row,) = (line for line in text.splitlines() if line.startswith("| bare") and "recovered" in line)
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[1:4] == ["", "", ""]
    assert "% recovered" in cells[4] or "recovered" in cells[4]
    assert cells[5:] == ["5.0", "", ""]


def test_the_report_has_the_section_only_beside_other_trainings():
    assert "## Other trainings" not in reproduction.markdown("nano", found())
    text = reproduction.markdown("nano", found(), {"flat": found(ood=FLAT)})
    assert "- **flat** removes the forgetting: *holds* (falls +3" in text
    assert text.index("## Other trainings") < text.index("## Limits")
