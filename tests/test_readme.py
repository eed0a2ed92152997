"""README.md: its commands run and print what it shows; its figures are what the records give."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from points24.harness.experiment.best import best_of
from points24.harness.experiment.findings import DIRECTIONS, VALUES
from points24.harness.experiment.manifest import read_manifest
from points24.harness.experiment.measures import Measure, Reproduction, gain_of, ratio_of, reproduction_of
from points24.harness.experiment.values import accuracy, verdict_share
from points24.harness.records.store import read_records
from points24.tasks.cards import RULES, Deal
from points24.tasks.prompts import template
from points24.tasks.verdict import Verdict

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")
ANYTHING = "…"
"""A line of printed output that stands for any number of lines."""


class Shown(NamedTuple):
    command: str
    output: list[str]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def shown() -> Iterator[Shown]:
    """Each ``$ command`` of the console blocks with the lines below it."""
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *output = part.rstrip("\n").split("\n")
            yield Shown(command, output)


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A script as a reader would run it who has activated the environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def agrees(wanted: list[str], printed: list[str]) -> bool:
    pattern = "".join(r"(?:.*\n)*?" if line == ANYTHING else re.escape(line) + r"\s*\n" for line in wanted)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None


@pytest.mark.parametrize("case", list(shown()), ids=lambda case: case.command[:40])
def test_a_command_prints_what_is_shown(case, tmp_path):
    done = run(case.command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert agrees(case.output, done.stdout.splitlines()), done.stdout


def test_the_prompt_is_the_one_shown():
    (prompt,) = blocks("text")
    assert prompt.rstrip("\n") == template().render(Deal(("K", "5", "A", "2"), RULES["ood"])).rstrip("\n")


@pytest.mark.slow
def test_the_other_commands_run_one_after_the_other(tmp_path):
    """All but installing and the tests themselves; the demo without make."""
    scripts = [
        "\n".join(
            line.replace("make demo", "points24 demo")
            for line in block.splitlines()
            if not line.startswith(("pip install", "make test"))
        )
        for block in blocks("bash")
    ]
    for script in filter(str.strip, scripts):
        done = run(script, tmp_path)
        assert done.returncode == 0, f"{script}\n{done.stderr[-2000:]}"
    assert (tmp_path / "recovered/model.safetensors").exists()
    for name in ("README.md", "index.html"):
        assert (tmp_path / "leaderboard/generated" / name).exists()


def test_every_link_leads_somewhere():
    for page in (ROOT / "README.md", *ROOT.glob("*/README.md"), *ROOT.glob("*/*/README.md")):
        if ".venv" in page.parts:
            continue
        for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text("utf-8")):
            if not re.match(r"[a-z]+:", target):
                assert (page.parent / target).exists(), f"{page}: {target}"


# -- the three findings ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reproduction() -> Reproduction:
    folder = ROOT / "leaderboards/reproduction/nano-reproduction"
    return reproduction_of(read_manifest(folder / "manifest.json"), read_records(folder))


def percent(measure: Measure) -> str:
    assert measure.mean is not None
    assert measure.over_seeds is not None
    low, high = measure.over_seeds
    return f"{100 * measure.mean:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def says(*words: str) -> bool:
    return " ".join(words) in " ".join(TEXT.replace("\\", "").split())


def test_what_sft_memorised(reproduction):
    def of(part, hand_set):
        return percent(
            reproduction.over_seeds(
                "", "percent", lambda i, _: accuracy(reproduction.score(i, part, hand_set))
            )
        )

    def wrong_rule(place, _):
        return verdict_share(reproduction.score(place, "SFT final", "ood"), Verdict.WRONG_RULE)

    share = percent(reproduction.over_seeds("", "percent", wrong_rule))
    assert says("falls from", of("best OOD", "ood"), "at its best to", of("SFT final", "ood"), "at the end")
    assert says("rises from", of("best OOD", "id"), "to", of("SFT final", "id"))
    assert says("Of the final OOD replies,", share, "are right only under the memorised rule")


@pytest.mark.parametrize("start", ["early", "middle", "late"])
def test_what_ppo_did(reproduction, start):
    assert says("raise ID accuracy from every start, OOD accuracy from none")
    parts = f"PPO final, {start} start", f"PPO start, {start}"
    assert gain_of(reproduction, "", *parts, "id").is_above(0)
    assert not gain_of(reproduction, "", *parts).is_above(0)


def test_what_recovery_did(reproduction):
    def share(label):
        return percent(ratio_of(reproduction, "", label, "SFT final"))

    assert says(
        "the singular directions of all ranks recovers", share(DIRECTIONS), "of the lost OOD accuracy"
    )
    assert says("restoring the singular values", share(VALUES))
    best = best_of(reproduction, reproduction.recipes())
    assert best is not None
    assert best.picks.keys() == {"interpolate 0.75", "slerp 0.75"}
    assert says(
        f"The best of {best.among} recipes, picked on other deals and seeds than those that measure it"
    )
    assert says("(interpolate or slerp, 0.75): it recovers", percent(best.recovered))
