"""The rules of the house that no linter knows."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("tasks", "harness", "trainers", "leaderboards")
LONGEST_FUNCTION = 60
SILENCER = re.compile(r"#\s*(?:noqa|pyright: ignore|type: ignore)")
# What may follow a silencer on its line: codes, then the reason in words.
REASON = re.compile(
    r"#\s*(?:noqa(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?|pyright: ignore(?:\[[\w, ]+\])?)"
    r"(?:\s*#\s*pyright: ignore(?:\[[\w, ]+\])?)?[\s,;:#—–-]+\w+.*\w{2}"
)
README = (ROOT / "README.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def tracked(*patterns: str) -> list[Path]:
    run = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found = [Path(name) for name in run.stdout.split("\0") if name and (ROOT / name).exists()]
    if not found:
        pytest.skip("not a git checkout")
    return found


def sources() -> list[Path]:
    return [path for path in tracked("*.py") if path.parts[0] in PACKAGES]


def functions(path: Path):
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_function_is_long():
    long = [
        f"{path}:{node.lineno} {node.name}: {length(node)} lines"
        for path in sources()
        for node in functions(path)
        if length(node) >= LONGEST_FUNCTION
    ]
    assert long == []


def test_whoever_silences_a_checker_says_why():
    silent = [
        f"{path}:{number}: {line.strip()}"
        for path in tracked("*.py")
        if path.name != Path(__file__).name
        for number, line in enumerate((ROOT / path).read_text("utf-8").splitlines(), start=1)
        if SILENCER.search(line) and not REASON.search(line)
    ]
    assert silent == []


def test_the_harness_has_at_most_six_loose_files():
    loose = [path.name for path in tracked("harness/*") if len(path.parts) == 2]
    assert len(loose) <= 6, loose


def test_the_harness_does_not_name_the_trainers():
    naming = [
        str(path) for path in tracked("harness/*.py") if "points24.trainers" in (ROOT / path).read_text()
    ]
    assert naming == []


def test_methods_of_recovery_are_told_apart_in_the_registry_alone():
    asking = re.compile(r"method\s*(?:==|!=|in\b|not in\b)")
    found = [
        f"{path}:{number}: {line.strip()}"
        for path in sources()
        if path.parts[:2] in (("harness", "recovery"), ("harness", "sweep"), ("harness", "analysis"))
        or path.parts[0] == "leaderboards"
        for number, line in enumerate((ROOT / path).read_text("utf-8").splitlines(), start=1)
        if asking.search(line) and "for method in" not in line
    ]
    assert found == []


@pytest.mark.parametrize("name", ["Recipe", "Experiment", "Finding", "Dialogue", "Job", "Record", "Config"])
def test_a_class_name_means_one_thing(name):
    defining = [
        str(path)
        for path in sources()
        for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8")))
        if isinstance(node, ast.ClassDef) and node.name.lstrip("_") == name
    ]
    assert len(defining) <= 1, defining


def test_the_tree_for_contributors_is_what_git_tracks():
    block = re.search(r"^```\n(tasks/.*?)^```$", CONTRIBUTING, re.DOTALL | re.MULTILINE)
    assert block
    shown, stack = set(), []
    for line in block[1].splitlines():
        name = line.split()[0] if line.strip() else ""
        if not name.endswith("/"):
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        stack = [*stack[:depth], name.rstrip("/")]
        shown.add("/".join(stack))
    top = (*PACKAGES, "tests")
    folders = {
        "/".join(path.parts[:depth])
        for path in tracked()
        for depth in (1, 2)
        if path.parts[0] in top and len(path.parts) > depth
    }
    assert shown == folders


def test_the_readme_is_read_in_five_minutes():
    assert len(README.splitlines()) <= 150
