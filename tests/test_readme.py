"""What README.md leads with is what the report says, which in turn is what the records give."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REPORT = (ROOT / "leaderboards/reproduction.md").read_text("utf-8").replace("\\", "").replace("**", "")
README = " ".join((ROOT / "README.md").read_text("utf-8").replace("\\", "").split())


def row(name, section):
    """The cells of a row of the report's first table below a line that has it, each as [mean, low, high]."""
    below = REPORT.split(section, 1)[1]
    cells = re.findall(rf"^\| {re.escape(name)} *\|(.*)\|$", below, re.MULTILINE)[0].split("|")
    return [re.findall(r"[+−]?\d+\.\d+", cell) for cell in cells]


def ends(name):
    return row(name, "What this instrument adds")


def repaired(name):
    return row(name, "Every repair")


def shown(mean, low, high):
    return f"{mean} % [{low}, {high}]"


def test_what_was_memorised():
    (_, of_id, _, _, flexible, _), best, end = ends("base"), ends("best OOD"), ends("SFT end")
    assert f"wins {of_id[0]} % of the ID and {flexible[0]} % of the OOD hands" in README
    assert f"OOD accuracy falls from {best[3][0]} to {end[3][0]} %, " in README
    assert f"ID accuracy ends at {end[0][0]} %" in README
    assert (
        f"In the end {shown(*end[5])} of the OOD replies are right under the rule of the training" in README
    )


@pytest.mark.parametrize("start", ["early", "middle", "late"])
def test_what_rl_did(start):
    assert "PPO on the ID rule raise ID accuracy from every start, OOD from none" in README
    finding = "## RL restores much"
    (_, low, _), *_ = row(f"ID gain, {start} start, points", finding)
    assert low.startswith("+")
    (mean, *_), *_ = row(f"OOD gain, {start} start, points", finding)
    assert mean.startswith("−")


def test_what_repairs_bring_back():
    directions, values = repaired("directions, all ranks")[1], repaired("values, all ranks")[1]
    assert f"bring back {shown(*directions)} of what was lost, its singular values {values[0]} %" in README
    ranks, layers = (
        repaired(f"directions, {part}")[1] for part in ("top 20% of ranks", "all ranks, first 25% of layers")
    )
    assert f"the top 20 % of ranks bring back {shown(*ranks)} and the first quarter of the layers" in README
    assert f"of the layers {shown(*layers)}, where the paper reports 70 to 80 %" in README
    _, average, on_id = repaired("interpolate 0.75")
    assert f"bring back {shown(*average)} and gain {on_id[0].lstrip('+')} points on ID" in README


def test_what_it_takes():
    (minutes,) = re.findall(r"(\d+ min) a seed", REPORT)
    assert f"A seed takes {minutes} of one core" in README
