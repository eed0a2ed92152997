"""README.md: its commands run and print what it shows; its figures are what the records give."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from points24.tasks.cards import RULES, Deal
from points24.tasks.prompts import template

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
