"""Score checkpoints during training: publish each as a model folder, run lm-eval, add the records."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils.memory import clear_device_cache
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import CallbackHandler, PrinterCallback, ProgressCallback

from points24.harness.analysis.formats import percent
from points24.harness.checkpoints.digest import weights_digest
from points24.harness.checkpoints.locate import locate
from points24.harness.evaluation.engines import open_engine
from points24.harness.evaluation.engines.engine import Engine, EngineConfig, FolderWeights
from points24.harness.evaluation.random_state import undisturbed_random_state
from points24.harness.evaluation.score import score
from points24.harness.files import write_text
from points24.harness.records.ingest import About
from points24.harness.records.record import Record
from points24.harness.records.shift import read_shift_records
from points24.harness.shift.inquiry import Inquiry, ShiftConfig
from points24.harness.shift.report import RECORDS as SHIFT
from points24.tasks.verdict import Verdict
from points24.trainers.run.config import RunConfig
from points24.trainers.run.folder import RunFolder


class ScoreCheckpoints(TrainerCallback):
    """Publishes and scores each checkpoint on the main process, while the others wait.

    Scoring does not change training: lm-eval gets a copy of the model, loaded from the checkpoint, and the
    random generators are restored afterwards.

    Args:
        run: the run's folder.
        config: what to score, and how.
        stage: ``SFT`` or ``PPO``.
        parent: what the run started from.
    """

    def __init__(self, run: RunFolder, config: RunConfig, stage: str, parent: dict[str, Any]):
        self.run, self.config, self.stage, self.parent = run, config, stage, parent
        self._engine: Engine | None = None
        self._inquiry: Inquiry | None = None
        self.loggers: CallbackHandler | None = None
        """The trainer's callbacks, which pass scores to tensorboard, trackio or wandb."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Drop log rows after the step that the run resumes from, and score the parent."""
        if state.is_world_process_zero:
            self.run.truncate_log(state.global_step)
            self._log(self._scores(self.config.parent, None, args.device), args, state, control)
        PartialState().wait_for_everyone()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save at the steps of `save_at`."""
        if state.global_step in self.config.save_at:
            control.should_save = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write every logged row to `log.jsonl` as well."""
        if state.is_world_process_zero and logs:
            self.run.append_log({"step": state.global_step} | logs)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Publish and score; only then may the run resume from this step."""
        PartialState().wait_for_everyone()  # each process saves its own random state
        if state.is_world_process_zero:
            folder = self.run.publish(state.global_step)
            self._log(self._scores(folder, state.global_step, args.device), args, state, control)
            self.run.complete(state.global_step)
        PartialState().wait_for_everyone()

    def after_training(self) -> None:
        """Score what has not been scored: with vLLM, the parent and every checkpoint."""
        if self.config.score_engine == "hf":
            return
        clear_device_cache(garbage_collection=True)  # the trainer's
        try:
            for step in [None, *self.run.steps()]:
                self._score(self.config.parent if step is None else self.run.checkpoint(step), step, None)
        finally:
            if self._engine is not None:
                self._engine.close()

    def _scores(self, model: str | Path, step: int | None, device: torch.device) -> dict[str, float]:
        """What is logged of the parent or of a checkpoint."""
        logs = _logged(self._score(model, step, device)) if self.config.score_engine == "hf" else {}
        return logs | self._shift(locate(str(model)), device) if self.config.score_shift else logs

    def _shift(self, folder: Path, device: torch.device) -> dict[str, float]:
        """Measure the beliefs of a model, unless that is done, and add them to the run's `shift.jsonl`."""
        known = read_shift_records(self.run.path / SHIFT) if (self.run.path / SHIFT).exists() else []
        if self._inquiry is None:
            config = ShiftConfig(
                memorised=self.config.rule,
                template=self.config.template,
                apply_chat_template=self.config.apply_chat_template,
                limit=self.config.score_limit,
                dtype=self.config.score_dtype,
                batch_size=self.config.score_batch_size,
                device=device.type,
            )
            self._inquiry = Inquiry(locate(str(self.config.parent)), config)
        digest = weights_digest(folder)
        if any(record.weights_sha256 == digest for record in known):
            return {}
        with undisturbed_random_state():
            new = self._inquiry.alone(folder)
        kept = [record for record in known if record.model != new[0].model]
        write_text(self.run.path / SHIFT, "".join(f"{record.line()}\n" for record in kept + new))
        return {
            f"shift/{record.task}/{name}": each.mean
            for record in new
            for name, each in record.measures.items()
        }

    def _score(self, model: str | Path, step: int | None, device: torch.device | None) -> list[Record]:
        """New records of the parent (step None) or of a checkpoint; none if it has been scored already."""
        if not self.config.score_tasks:
            return []
        if step is None:
            out, about = "parent", About(self.parent["name"], weights_sha256=self.parent["weights_sha256"])
        else:
            out = f"checkpoint-{step}"
            digest = weights_digest(Path(model))
            about = About(f"{self.run.name}/{out}", self.parent["name"], self.stage, step, digest)
        if self.run.has_records(about.model, about.weights_sha256):
            return []
        folder = self.run.path / "scores" / out
        shutil.rmtree(folder, ignore_errors=True)
        # From the folder, not the model in memory: users load the folder, too.
        settings = {"dtype": self.config.score_dtype} | self.config.score_model_args
        engine = self._engine = self._engine or open_engine(
            EngineConfig(
                engine=self.config.score_engine,
                model_args=settings,
                batch_size=self.config.score_batch_size if self.config.score_engine == "hf" else "auto",
                device=str(device) if device else None,
            )
        )
        records = score(
            engine.load(FolderWeights(locate(str(model)))),
            self.config.score_tasks,
            folder,
            about,
            model=engine.name,
            model_args={"pretrained": str(model)} | settings,
            batch_size=engine.config.batch_size,
            apply_chat_template=self.config.apply_chat_template,
            limit=self.config.score_limit,
            gen_kwargs=self.config.score_gen_kwargs,
            metadata=self.config.score_metadata,
        )
        self.run.put_records(records)
        own = (r for r in records if r.filter == self.config.asked.own_filter)
        shown = ", ".join(f"{r.task} {percent(r.k / r.n)} %" for r in own)
        tqdm.write(f"{about.model}: {shown}", sys.stderr)
        return records

    def _log(
        self, logs: dict[str, float], args: TrainingArguments, state: TrainerState, control: TrainerControl
    ) -> None:
        """Pass scores to every logger."""
        printed = ProgressCallback, PrinterCallback  # `_score` has printed a summary
        for logger in self.loggers.callbacks if logs and self.loggers else ():
            if not isinstance(logger, printed):
                logger.on_log(args, state, control, logs=logs)


def _logged(records: list[Record]) -> dict[str, float]:
    """Accuracies and shares of wrong_rule, by task and filter."""
    logs = {}
    for record in records:
        name = f"score/{record.task}/{record.filter}"
        logs[name] = record.k / record.n
        logs[f"{name}/wrong_rule"] = (record.verdicts or {}).get(Verdict.WRONG_RULE.value, 0) / record.n
    return logs
