"""What the commands work on, and what must be there at the end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from points24.harness.checkpoints.shipped import model_folder
from points24.harness.config import override
from points24.harness.files import sha256
from tests.harness.recovery.models import make_pair
from tests.harness.sweep.conftest import perturbed
from tests.leaderboards.conftest import write_output
from tests.tasks.test_lm_eval import memoriser

_HOME = Path(__file__).resolve().parents[2] / "leaderboards"
_LIMIT = 6
_SPARE = ("*.lock", "*.log", "results_*.json", "samples_*.jsonl", "log.jsonl")
"""Files with times in them, or that are made by other programs."""


@dataclass(frozen=True)
class Scenario:
    prepare: Callable[[Path], None]
    """Fill an empty folder."""
    command: list[str]
    """To be given in that folder; given again it must go on, or do nothing."""
    done_again: int = 0
    """The exit status where all is done already."""
    drawn: str | None = None
    """The name of folders of tables and pages, which hold the dates of the results they are made of."""


def _lm_eval(folder: Path) -> None:
    write_output(folder / "lm_eval", memoriser, limit=8)


def _home(folder: Path) -> None:
    shutil.copytree(_HOME / "records", folder / "home" / "records")


def _pair(folder: Path) -> None:
    make_pair(folder)


def _sweep(folder: Path) -> None:
    settings = {
        "pairs": [{"source": str(model_folder("nano-base")), "target": "target"}],
        "grid": [{"ranks": "top 20%"}, {"method": "interpolate", "weight": 0.5}],
        "output_dir": "out",
    } | _SCORES
    perturbed(folder / "target", 0.2)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))


def _reproduce(folder: Path) -> None:
    both = ["points24_id", "points24_ood"]  # the report needs them
    settings = {
        "reproduce": {"output_dir": "out", "base": "nano-base", "num_threads": 1, "kinds": ["sft", "sweep"]},
        "sft": _SFT | {"score_tasks": both},
        "sweep": _SCORES | {"tasks": both, "grid": [{"ranks": "all"}]},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(settings))


_SCORES = {
    "tasks": ["points24_ood"], "limit": _LIMIT, "model_args": {"dtype": "float32"}, "device": "cpu",
    "gen_kwargs": {"max_gen_toks": 48},
}  # fmt: skip
_SFT = {
    "max_steps": 4, "save_steps": 2, "bf16": False, "seed": 0, "per_device_train_batch_size": 4,
    "gradient_checkpointing": False, "score_tasks": ["points24_ood"], "score_limit": _LIMIT,
    "score_dtype": "float32", "report_to": "none",
}  # fmt: skip
_NANO = (
    "output_dir=out hidden_size=16 num_hidden_layers=1 num_attention_heads=2 intermediate_size=32 max_steps=6 "
    "per_device_train_batch_size=4 warmup_steps=2 eval_steps=3 eval_deals=4 save_steps=2"
)
_RECOVER = "--source source --target target -o out --ranks all"
SCENARIOS = {
    "ingest": Scenario(_lm_eval, ["leaderboard", "ingest", "lm_eval", "--dir", "home"]),
    "build": Scenario(_home, ["leaderboard", "build", "--dir", "home"]),
    "recover": Scenario(_pair, ["recover", *_RECOVER.split(), "--ranks", "top 20%"], done_again=2),
    "sweep": Scenario(_sweep, ["sweep", "recipe.yaml"], drawn="generated"),
    "nano": Scenario(lambda folder: None, ["train", "nano", *_NANO.split()]),
    "sft": Scenario(
        lambda folder: None,
        ["train", "sft", "output_dir=out", "model_name_or_path=nano-base"]
        + [override(key, value) for key, value in _SFT.items()],
    ),
    "reproduce": Scenario(
        _reproduce, ["reproduce", "--config", "experiment.yaml", "--dir", "home"], drawn="generated"
    ),
}
SLOW = ("reproduce",)
"""Half a minute or more a trial: the stages are processes of their own."""


def outcome(folder: Path, drawn: str | None = None) -> dict[str, Any]:
    """Everything in a folder that does not depend on when it was made, by name."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if drawn in path.relative_to(folder).parts:
            continue
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file() and not any(path.match(spare) for spare in _SPARE):
            found[name] = _content(path)
    return found


def _content(path: Path) -> Any:
    if path.suffix == ".jsonl":
        return sorted(str(_timeless(json.loads(line))) for line in path.read_text("utf-8").splitlines())
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text("utf-8")))
    return sha256(path)


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _timeless(each)
            for key, each in value.items()
            if key not in ("date", "seconds", "key", "record", "checksum")
        }
    return [_timeless(each) for each in value] if isinstance(value, list) else value
