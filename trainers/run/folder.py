"""The folder of a training run: claimed by one run, resumed by the same run, never overwritten by another.

RUN/
  training.json        config, parent with its digest, versions, command
  checkpoint-40/ …     plain Hugging Face folders, each with its own training.json
  scores/              lm-eval's results and samples for each checkpoint and for the parent
  records/curve.jsonl  the same as records for the leaderboard
  log.jsonl            loss, rewards, scores and so on, step by step
  curve.json           the records in short: best OOD step, final step, forgetting
  best-ood, final      links to these two checkpoints; `final` is written last, when the run is finished
  state/               the trainer's own checkpoints, for resuming; removed when the run is finished
  .lock                held by the command that works here
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from points24.harness.analysis.curve import Curve, best_ood, curve
from points24.harness.analysis.summaries import curve_summary
from points24.harness.checkpoints.digest import weights_digest
from points24.harness.checkpoints.pretrained import from_pretrained
from points24.harness.files import (
    LOCK,
    locked,
    partial_of,
    replacing,
    replacing_folder,
    write_json,
    write_text,
)
from points24.harness.records.ingest import model_name
from points24.harness.records.provenance import command_line, versions
from points24.harness.records.record import Record
from points24.harness.records.store import read_records
from points24.tasks.errors import InputError
from points24.tasks.verdict import PAPER, STRICT
from points24.trainers.run.config import defaults_of

_COMPLETE = "complete"
"""File in a state's folder that marks it as saved, published and scored."""
_MODEL_FILES = (".safetensors", ".json", ".jinja", ".txt", ".model")
_NOT_OF_THE_MODEL = {"trainer_state.json"}
VALUE_HEAD = "value_head.pt"
"""PPO's critic, beside the model. Not a safetensors file, since vLLM loads all of those as weights."""
_FREE_TO_CHANGE = {"report_to", "logging_steps", "run_name", "disable_tqdm"}
"""Settings that do not change the checkpoints."""


class RunFolder:
    """One training run's folder."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.name = self.path.resolve().name
        self.state = self.path / "state"
        self.log = self.path / "log.jsonl"
        self.records_file = self.path / "records" / "curve.jsonl"
        self._about = self.path / "training.json"

    @contextmanager
    def claim(self, about: dict[str, Any], config: object) -> Iterator[None]:
        """Make the folder this run's, or check that it already is, and keep other commands out of it.

        Args:
            about: the content of `training.json` without versions and command; ``config`` holds the settings
                that differ from the defaults.
            config: the whole configuration, for the defaults.

        Raises:
            InputError: the folder holds something else, or a run with other settings (the message names
                them), or another command is at work there.
        """
        self._check(about, config)  # before the lock, so that a folder that is not ours is left as it is
        with locked(self.path):
            self._check(about, config)
            if not self._about.exists():
                write_json(self._about, about | {"command": command_line(), "versions": versions()})
            yield

    def _check(self, about: dict[str, Any], config: object) -> None:
        if self._about.exists():
            before = json.loads(self._about.read_text("utf-8"))
            if changed := _changed(before, about, config):
                raise InputError(
                    f"{self.path} holds a run with another config: {'; '.join(changed)}; "
                    "choose another output_dir"
                )
        elif self.path.exists() and (not self.path.is_dir() or self._holds_more_than_a_start()):
            raise InputError(f"{self.path} is not empty and holds no run; choose another output_dir")

    def _holds_more_than_a_start(self) -> bool:
        """Whether there is more than what a run leaves that is killed before its first file is whole."""
        start = {LOCK, partial_of(self._about).name}
        return any(path.name not in start for path in self.path.iterdir())

    def is_finished(self) -> bool:
        return (self.path / "final").is_symlink()

    def last_state(self) -> Path | None:
        """The state to resume from. Incomplete states are removed."""
        complete = []
        for state in self.state.glob("checkpoint-*"):
            if (state / _COMPLETE).exists():
                complete.append(state)
            else:
                shutil.rmtree(state)
        return max(complete, key=_step, default=None)

    def is_trained(self) -> bool:
        """Whether the last step is complete, so that only `finish` remains."""
        if (state := self.last_state()) is None:
            return False
        progress = json.loads((state / "trainer_state.json").read_text("utf-8"))
        return progress["global_step"] >= progress["max_steps"]

    def state_of(self, step: int) -> Path:
        return self.state / f"checkpoint-{step}"

    def checkpoint(self, step: int) -> Path:
        return self.path / f"checkpoint-{step}"

    def steps(self) -> list[int]:
        """Of the checkpoints so far."""
        return sorted(map(_step, self.path.glob("checkpoint-*")))

    def publish(self, step: int) -> Path:
        """Turn the state saved at a step into a model folder, which appears complete or not at all."""
        state, target = self.state_of(step), self.checkpoint(step)
        with replacing_folder(target) as partial:
            self._fill(partial, state, step)
        return target

    def _fill(self, folder: Path, state: Path, step: int) -> None:
        if (state / "adapter_config.json").exists():
            _save_merged(state, folder)
        else:
            for file in sorted(state.iterdir()):
                if file.suffix in _MODEL_FILES and file.name not in _NOT_OF_THE_MODEL:
                    _link(file, folder / file.name)
        if (state / VALUE_HEAD).exists():
            _link(state / VALUE_HEAD, folder / VALUE_HEAD)
        if not (weights := list(folder.glob("*.safetensors"))):
            raise InputError(
                f"{state} holds no whole weights; sharded training has to gather them "
                "(fsdp_config: state_dict_type: FULL_STATE_DICT)"
            )
        for file in weights:  # safetensors writes mode 0600
            file.chmod((folder / "config.json").stat().st_mode)
        about = json.loads(self._about.read_text("utf-8"))
        write_json(folder / "training.json", about | {"step": step})

    def complete(self, step: int) -> None:
        """Let the run resume from this step."""
        (self.state_of(step) / _COMPLETE).touch()

    def records(self) -> list[Record]:
        return read_records(self.records_file.parent) if self.records_file.exists() else []

    def has_records(self, model: str | None, weights_sha256: str | None) -> bool:
        """Whether a model with these weights has been scored."""
        return any(r.model == model and r.weights_sha256 == weights_sha256 for r in self.records())

    def put_records(self, new: list[Record]) -> None:
        """Add records; they replace earlier ones of the same models."""
        models = {record.model for record in new}
        kept = [record for record in self.records() if record.model not in models]
        self.records_file.parent.mkdir(exist_ok=True)
        write_text(self.records_file, "".join(f"{record.line()}\n" for record in kept + new))

    def append_log(self, row: dict[str, Any]) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")

    def truncate_log(self, step: int) -> None:
        """Remove the rows after a step, since these steps will be trained again."""
        rows = self.log.read_text("utf-8").splitlines(keepends=True) if self.log.exists() else []
        # A killed process may leave half of the last line.
        whole = (row for row in rows if row.endswith("\n"))
        write_text(self.log, "".join(row for row in whole if json.loads(row)["step"] <= step))

    def curve(self) -> Curve | None:
        """The curve so far, by the filter that the verifier goes by; None without an OOD score."""
        records = self.records()
        own = PAPER if any(r.filter == PAPER for r in records) else STRICT
        return curve(records, own) if any(r.hand_set == "ood" and r.stage for r in records) else None

    def finish(self) -> None:
        """Write `curve.json`, mark the best OOD and the final checkpoint, remove the states."""
        step = max(self.steps())
        if found := self.curve():
            write_json(self.path / "curve.json", curve_summary(found))
            self.mark("best-ood", best_ood(found))
        self.mark("final", step)  # before the states go: a run must not resume from half-removed states
        self.tidy()

    def tidy(self) -> None:
        """Remove the states of a finished run."""
        shutil.rmtree(self.state, ignore_errors=True)

    def mark(self, name: str, step: int) -> None:
        """Point a link such as ``best-ood`` at a checkpoint."""
        with replacing(self.path / name) as partial:
            partial.symlink_to(self.checkpoint(step).name)


def parent_of(model: str | Path) -> dict[str, Any]:
    """Name and weights' digest of the model that a run starts from."""
    if isinstance(model, str):
        return {"name": model, "weights_sha256": None}
    return {"name": model_name(str(model)), "weights_sha256": weights_digest(model)}


def _changed(before: dict[str, Any], now: dict[str, Any], config: object) -> list[str]:
    """What differs between two contents of `training.json`; a setting that is not given has its default."""
    before = _in_todays_words(before, now)

    def stated(about: dict[str, Any]) -> dict[str, Any]:
        others = {key: value for key, value in about.items() if key not in ("config", "command", "versions")}
        return about.get("config", {}) | others

    defaults, old, new = defaults_of(type(config)), stated(before), stated(now)
    pairs = {
        key: (old.get(key, defaults.get(key)), new.get(key, defaults.get(key)))
        for key in sorted((old.keys() | new.keys()) - _FREE_TO_CHANGE)
    }
    return [f"{key} was {was!r}, is {value!r}" for key, (was, value) in pairs.items() if was != value]


def _in_todays_words(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The same, written before protocols had names: it was points24's, and `verdict` rewards were `paper`."""
    if "protocol_digest" in before:
        return before
    config = before.get("config", {})
    renamed = {"rewards": "verdict"} if config.get("rewards") == "paper" else {}
    return before | {"config": config | renamed, "protocol_digest": now.get("protocol_digest")}


def _save_merged(state: Path, folder: Path) -> None:
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    model: Any = from_pretrained(AutoPeftModelForCausalLM, state, dtype="auto")
    model.merge_and_unload().save_pretrained(folder)
    from_pretrained(AutoTokenizer, state).save_pretrained(folder)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)  # one copy on the disk, which stays when the state is removed
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)


def _step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])
