"""How far a training run is: one labelled line on a terminal, else a line of text now and then."""

from __future__ import annotations

import sys
from typing import Any

from transformers.trainer_callback import ProgressCallback, TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

SHOWN = ("loss", "reward", "kl", "grad_norm", "learning_rate")
"""Of what trainers log, as far as they do."""


class Progress(ProgressCallback):
    """transformers' progress bar with a name, and the newest figures beside it instead of a line for each.

    Where nobody sees a bar, each log is a line with the step, the share that is done and these figures.
    """

    def __init__(self, name: str):
        super().__init__()
        self.name = name

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if sys.stderr.isatty():
            super().on_train_begin(args, state, control, **kwargs)
            if self.training_bar is not None:
                self.training_bar.set_description(self.name)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.training_bar is not None:
            super().on_step_end(args, state, control, **kwargs)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        shown = {name: f"{float(logs[name]):.3g}" for name in SHOWN if logs and name in logs}
        if not shown or not state.is_world_process_zero:
            return
        if self.training_bar is not None:
            self.training_bar.set_postfix(shown)
            return
        figures = ", ".join(f"{name} {value}" for name, value in shown.items())
        share = round(100 * state.global_step / max(1, state.max_steps))
        line = f"{self.name}: {state.global_step} of {state.max_steps} ({share}%): {figures}"
        print(line, file=sys.stderr, flush=True)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.training_bar is not None:
            super().on_train_end(args, state, control, **kwargs)
