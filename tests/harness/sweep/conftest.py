"""The shipped nano base, what a perturbation makes of it, and sweeps over the two."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from points24.harness.checkpoints.shipped import model_folder
from points24.harness.cli import main
from points24.harness.records.record import Record
from points24.harness.sweep.config import SweepConfig

LIMIT = 6
GREEDY = {"max_gen_toks": 48}
"""Longer than a right reply, shorter than the ramblings of a random model."""


def perturbed(folder: Path, amount: float, seed: int = 0) -> Path:
    """The shipped base with noise on every matrix."""
    shutil.copytree(model_folder("nano-base"), folder)
    noise = torch.Generator().manual_seed(seed)
    tensors = {
        name: t + amount * t.std() * torch.randn(t.shape, generator=noise) if t.dim() == 2 else t
        for name, t in load_file(folder / "model.safetensors").items()
    }
    save_file(
        {name: t.bfloat16() for name, t in tensors.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    return folder


@pytest.fixture(scope="session")
def target(tmp_path_factory) -> Path:
    return perturbed(tmp_path_factory.mktemp("checkpoints") / "target", 0.2)


@pytest.fixture
def settings(target, tmp_path) -> dict[str, Any]:
    """A sweep of four jobs: two ends, two recipes."""
    return {
        "pairs": [{"source": str(model_folder("nano-base")), "target": str(target)}],
        "grid": [{"ranks": ["top 20%", "top 60%"], "restore": "both"}],
        "output_dir": str(tmp_path / "out"),
        "tasks": ["points24_ood"],
        "limit": LIMIT,
        "model_args": {"dtype": "float32"},
        "device": "cpu",
        "gen_kwargs": GREEDY,
    }


@pytest.fixture
def sweep(settings, tmp_path):
    """Runs ``points24 sweep`` with these settings and others that replace them; returns its exit status."""

    def run(*flags: str, **others: Any) -> int:
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(settings | others))
        return main(["sweep", str(path), *flags])

    return run


@pytest.fixture
def config(settings):
    """A configuration with these settings and others that replace them."""
    return lambda **others: SweepConfig(**settings | others)


def undated(records: list[Record]) -> list[dict[str, Any]]:
    """All that a rerun has to give again."""
    return [asdict(record) | {"date": None} for record in records]
