"""What the wheel holds. Installing it is tried by hand and by CI."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from points24.harness.records.store import add_records, read_records
from tests.leaderboards.conftest import record

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path).namelist()


def test_the_wheel_installs_the_package_and_the_task_files_and_nothing_else(wheel):
    assert {name.split("/")[0] for name in wheel} == {"points24", "lm_eval", "points24-0.1.0.dist-info"}
    assert {n.split("/")[1] for n in wheel if n.startswith("points24/")} == {
        "tasks", "harness", "trainers", "leaderboards", "rewards.py"
    }  # fmt: skip
    beside_lm_eval = {n for n in wheel if n.startswith("lm_eval/")}
    source = {f"lm_eval/tasks/points24/{f.name}" for f in (ROOT / "tasks/lm_eval/points24").iterdir()}
    assert beside_lm_eval == source


@pytest.mark.parametrize(
    "name",
    [
        "points24/tasks/templates/default.jinja",
        "points24/tasks/py.typed",
        "points24/tasks/lm_eval/points24/points24_ood.yaml",
        "points24/harness/checkpoints/nano-base/model.safetensors",
        "points24/harness/checkpoints/nano-base/tokenizer.json",
        "points24/harness/checkpoints/nano-plain/model.safetensors",
        "points24/harness/checkpoints/nano-steps/model.safetensors",
        "points24/trainers/configs/nano.yaml",
    ],
)
def test_the_wheel_carries_its_data(wheel, name):
    assert name in wheel


def test_the_wheel_holds_no_records(wheel):
    folders = {n.split("/")[2] for n in wheel if n.startswith("points24/leaderboards/") and n.count("/") > 2}
    assert folders == {"render", "reports"}


@pytest.mark.slow
def test_installing_again_loses_no_records_and_uninstalling_leaves_nothing(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (made,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    (site,) = (tmp_path / "venv").glob("lib/python3*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))  # its dependencies
    python, home = str(tmp_path / "venv" / "bin" / "python"), tmp_path / "home"
    home.mkdir()

    def run(*words: str) -> None:
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        subprocess.run([python, *words], cwd=home, env=clean, check=True, capture_output=True)

    run("-m", "pip", "install", "--no-deps", "--no-index", str(made))
    add_records(home / "leaderboard" / "records" / "measured.jsonl", [record()])
    run("-m", "points24.harness.cli", "leaderboard", "build")
    run("-m", "pip", "uninstall", "-y", "points24")
    assert not (site / "points24").exists()
    assert not (site / "lm_eval" / "tasks" / "points24").exists()
    run("-m", "pip", "install", "--no-deps", "--no-index", str(made))
    assert [each.key for each in read_records(home / "leaderboard" / "records")] == [record().key]
    run("-m", "points24.harness.cli", "leaderboard", "check")


def test_no_file_is_too_heavy_for_git():
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")  # fmt: skip
    sizes = {name: (ROOT / name).stat().st_size for name in tracked if name and (ROOT / name).is_file()}
    assert all(size <= 4_000_000 for size in sizes.values())
    assert sum(size for name, size in sizes.items() if name.endswith(".safetensors")) <= 12_000_000


def test_every_command_in_pyproject_is_installed():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    commands = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
        "points24.commands"
    ]
    assert {entry.name: entry.value for entry in entry_points(group="points24.commands")} == commands
