"""Supervised fine-tuning on solved deals, with TRL's SFTTrainer.

The rows come from `points24.trainers.deals`: hands of the seen split, cards in random order, and a reply with
a solution from the exact solver. They are taken in this order, so a global batch holds the same rows for any
number of processes. The loss is on the reply and its end-of-sequence token alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from datasets import Dataset
from trl.trainer import sft_config
from trl.trainer.sft_trainer import SFTTrainer

from points24.tasks.errors import InputError
from points24.trainers.deals import SOLUTIONS, completion_row, examples, prompt_row
from points24.trainers.run.config import RunConfig, at_least_1
from points24.trainers.run.run import train_run


@dataclass
class SFTConfig(RunConfig, sft_config.SFTConfig):
    """TRL's SFTConfig with `RunConfig` and the settings of SFT alone."""

    solutions: str = "random"
    """Which solutions of a hand are taught; see `points24.trainers.deals.SOLUTIONS`."""
    num_samples: int | None = None
    """Rows to draw, for `num_train_epochs` epochs. None draws as many as `max_steps` steps take."""
    train_sampling_strategy: str = "sequential"
    packing: bool = False
    max_length: int | None = 512

    def __post_init__(self) -> None:
        self.check()
        if self.solutions not in SOLUTIONS:
            raise InputError(f"solutions: expected {' or '.join(SOLUTIONS)}, found {self.solutions!r}")
        if (self.max_steps > 0) == (self.num_samples is not None):
            raise InputError(
                f"expected one of max_steps and num_samples; found max_steps {self.max_steps}, "
                f"num_samples {self.num_samples}"
            )
        at_least_1(self, "num_samples")
        super().__post_init__()

    @property
    def rows(self) -> int:
        """Rows of the training set."""
        return self.num_samples or self.max_steps * self.rows_per_step

    @property
    def rows_per_step(self) -> int:
        """The global batch: rows per optimiser step, over all processes."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps * self.world_size


def build_trainer(config: SFTConfig, model: Any, tokenizer: Any, callbacks: list[Any]) -> SFTTrainer:
    """TRL's trainer on the rows that the config describes."""
    wording, asked, chat = config.wording, config.asked, config.apply_chat_template
    drawn = islice(examples(config.parsed_rule, config.solutions, config.seed), config.rows)
    rows = [
        prompt_row(deal, wording, chat) | completion_row(deal, formula, asked, chat)
        for deal, formula in drawn
    ]
    return SFTTrainer(
        model,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=config.peft_config,
        callbacks=callbacks,
    )


train = partial(train_run, "SFT", SFTConfig, build_trainer)
"""Settings -> the run's folder."""
