"""README.md: its commands run and print what it shows; its figures are what the records give."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from math import inf
from pathlib import Path
from typing import NamedTuple

import pytest

from points24.harness.experiment.best import best_of
from points24.harness.experiment.findings import DIRECTIONS, TOP_RANKS, VALUES
from points24.harness.experiment.manifest import read_manifest, read_shifts
from points24.harness.experiment.measures import Measure, Reproduction, gain_of, ratio_of, reproduction_of
from points24.harness.experiment.trainings import REGAINED, contrasts
from points24.harness.experiment.values import accuracy, verdict_share
from points24.harness.experiment.verdicts import FAILS, OPEN
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


# -- what it found ---------------------------------------------------------------------------------------

MODELS = ("nano-reproduction", "nano-steps-reproduction")
"""The columns of the table."""


@cache
def reproduction(name: str) -> Reproduction:
    folder = ROOT / "leaderboards/reproduction" / name
    return reproduction_of(read_manifest(folder / "manifest.json"), read_records(folder), read_shifts(folder))


@cache
def trainings(name: str) -> dict[str, Reproduction]:
    folder = ROOT / "leaderboards/reproduction" / name / "trainings"
    return {
        each.parent.name: reproduction(f"{name}/trainings/{each.parent.name}")
        for each in folder.glob("*/manifest.json")
    }


def percent(measure: Measure, *, within: tuple[float, float] = (-inf, inf)) -> str:
    """The mean and its interval over the seeds, which is None where all agree exactly."""
    assert measure.mean is not None
    text, found = f"{100 * measure.mean:.1f} %", measure.over_seeds
    if found is None:
        return text
    low, high = max(within[0], found.low), min(within[1], found.high)
    return f"{text} [{100 * low:.1f}, {100 * high:.1f}]"


def bounded(measure: Measure) -> str:
    """Of an accuracy, whose interval is cut to what accuracies can be."""
    return percent(measure, within=(0, 1))


def scored(found: Reproduction, part: str, hand_set: str) -> str:
    return bounded(found.over_seeds("", "percent", lambda i, _: accuracy(found.score(i, part, hand_set))))


def fall(found: Reproduction, hand_set: str) -> str:
    return " → ".join(scored(found, part, hand_set) for part in ("best OOD", "SFT final"))


def wrong_rule(found: Reproduction) -> str:
    return bounded(
        found.over_seeds(
            "", "percent", lambda i, _: verdict_share(found.score(i, "SFT final", "ood"), Verdict.WRONG_RULE)
        )
    )


def regained(label: str) -> Callable[[Reproduction], str]:
    return lambda found: percent(ratio_of(found, "", label, "SFT final"))


ROWS: dict[str, Callable[[Reproduction], str]] = {
    "OOD accuracy: best checkpoint of SFT → last": lambda found: fall(found, "ood"),
    "ID accuracy, likewise": lambda found: fall(found, "id"),
    "OOD replies of the last that are right only under the memorised rule": wrong_rule,
    "OOD accuracy after PPO on the ID rule from there": lambda found: scored(found, REGAINED["PPO"], "ood"),
    "OOD loss recovered by singular directions, all ranks": regained(DIRECTIONS),
    "… of the top 20 % of ranks": regained(TOP_RANKS),
    "… by singular values": regained(VALUES),
    "… by averaging, `interpolate` 0.5": regained("interpolate 0.5"),
}


def says(*words: str) -> bool:
    return " ".join(words) in " ".join(TEXT.replace("\\", "").split())


@pytest.mark.parametrize("label", ROWS)
def test_a_row_of_the_table_of_findings(label):
    assert says(f"| {label} | " + " | ".join(ROWS[label](reproduction(name)) for name in MODELS) + " |")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("start", ["early", "middle", "late"])
def test_ppo_raises_ood_accuracy_from_no_start(name, start):
    assert says("PPO on the ID rule raises OOD accuracy from no start, early, middle or late")
    found = reproduction(name)
    assert not gain_of(found, "", f"PPO final, {start} start", f"PPO start, {start}").is_above(0)


def test_the_best_recipes():
    by_heart, worked_out = (best_of(each, each.recipes()) for each in map(reproduction, MODELS))
    assert by_heart is not None
    assert worked_out is not None
    assert by_heart.picks.keys() == {"interpolate 0.75", "slerp 0.75"}
    assert worked_out.picks.keys() == {DIRECTIONS, "directions, top 70% of ranks", "interpolate 0.75"}
    assert says(
        f"The best of {by_heart.among} recipes is averaging (interpolate or slerp, 0.75) for the first:",
        f"{percent(by_heart.recovered)} recovered. For the second, directions of all or 70 % of the ranks and",
        f"averaging at 0.75 share the first place among {worked_out.among}: {percent(worked_out.recovered)}.",
    )


def test_the_pretrained_model():
    found = reproduction("gemma-3-270m-reproduction")

    def shares(part: str) -> str:
        record = found.score(0, part, "ood")
        assert record is not None
        assert record.verdicts is not None
        right = record.verdicts[Verdict.CORRECT]
        stated = right + record.verdicts[Verdict.WRONG_VALUE]
        return f"{100 * stated / record.n:.1f} % and {100 * right / record.n:.1f} %"

    assert says("wins none of these deals under strict-match, nor with four examples in the prompt")
    base = [r for r in read_records(ROOT / "leaderboards/records") if r.model == "gemma-3-270m"]
    strict = [(r.num_fewshot, r.k) for r in base if r.filter == "strict-match"]
    assert sorted(strict) == [(0, 0), (0, 0), (4, 0), (4, 0)]
    before = shares("base").split(" and ")
    assert says(f"Then {before[0]} of its OOD replies use the stated numbers, and {before[1]} reach 24;")
    assert says(f"after 128 steps of SFT on the ID rule, {shares('SFT final')}.")
    shifts = {r.model: r.measures["preference"] for r in found.shifts.records if r.task == "points24_ood"}
    nats = [
        f"{each.mean:.1f}{{}} [{each.interval[0]:.1f}, {each.interval[1]:.1f}]"
        for each in (shifts[found.manifest.base], shifts[found.seeds[0].final])
        if each.interval
    ]
    assert says(f"goes from {nats[0].format(' nats')} to {nats[1].format('')}.")
    assert says(f"Directions of step 2 put back, all ranks: {shares(DIRECTIONS)};")
    assert says(f"values: {shares(VALUES)}; `interpolate` 0.5: {shares('interpolate 0.5')},")
    assert says(f"0.75: {shares('interpolate 0.75')}.")


def test_other_trainings():
    main, others = reproduction(MODELS[1]), trainings(MODELS[1])
    answers, diverse = others["answers"], others["diverse"]
    assert says("OOD", fall(answers, "ood"), "on answers without the working (ID", fall(answers, "id") + ")")
    assert says(
        "OOD", fall(diverse, "ood"), "on six rules instead of one: whether rule diversity removes the"
    )
    verdicts = {each.name: each.removes for each in contrasts(main, others)}
    assert verdicts == {"answers": FAILS, "diverse": OPEN}
