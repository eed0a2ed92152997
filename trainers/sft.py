"""Supervised fine-tuning on solved deals, with TRL's SFTTrainer.

The rows come from `points24.trainers.deals`: hands of the seen split, cards in random order, and a reply with
a solution from the exact solver. They are taken in this order, so a global batch holds the same rows for any
number of processes. The loss is on the reply and its end-of-sequence token alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from typing import Any

from datasets import Dataset
from trl.trainer import sft_config

from points24.tasks.errors import InputError
from points24.tasks.prompts import template
from points24.trainers.deals import SOLUTIONS
from points24.trainers.mixture import Shown, Shows, check_working, rows, shown_rules
from points24.trainers.objectives import objective
from points24.trainers.objectives.objective import Objective, ObjectiveTrainer
from points24.trainers.run.config import RunConfig, at_least_1, saved_at_multiples
from points24.trainers.run.models import load_model
from points24.trainers.run.run import train_run


@dataclass
class SFTConfig(RunConfig, sft_config.SFTConfig):
    """TRL's SFTConfig with `RunConfig` and the settings of SFT alone."""

    solutions: str = "random"
    """Which solutions of a hand are taught; see `points24.trainers.deals.SOLUTIONS`."""
    rules: list[str | dict[str, Any]] = field(default_factory=list)
    """Several rules instead of `rule`, such as ``[id, {J: 9, Q: 9, K: 9, weight: 2}]``; none may have a
    value of the OOD rule. See `points24.trainers.mixture.shown_rules`."""
    templates: list[str] = field(default_factory=list)
    """Paths of several prompt templates instead of `template`, which scoring keeps using."""
    working: str = "none"
    """What replies show before the answer: ``none``, ``steps``, or a ``search``; see
    `points24.tasks.working`."""
    objective: str = "nll"
    """What is minimised: one of `points24.trainers.objectives.OBJECTIVES`."""
    objective_args: dict[str, Any] = field(default_factory=dict)
    """Its own settings, such as ``{coef: 0.1}``."""
    num_samples: int | None = None
    """Rows to draw, for `num_train_epochs` epochs. None draws as many as `max_steps` steps take."""
    sort_batches: bool = False
    """Sort the rows of each global batch by length. With `gradient_accumulation_steps` the loss stays that of
    the batch, and its parts hold less padding: worth while where some replies are much longer than others."""
    train_sampling_strategy: str = "sequential"
    packing: bool = False
    max_length: int | None = 512

    def __post_init__(self) -> None:
        self.check()
        if self.solutions not in SOLUTIONS:
            raise InputError(f"solutions: expected {' or '.join(SOLUTIONS)}, found {self.solutions!r}")
        check_working(self.working, self.asked)
        self._check_objective()
        assert self.shows  # raises where a rule or a template is none
        if (self.max_steps > 0) == (self.num_samples is not None):
            raise InputError(
                f"expected one of max_steps and num_samples; found max_steps {self.max_steps}, "
                f"num_samples {self.num_samples}"
            )
        at_least_1(self, "num_samples")
        super().__post_init__()
        saved_at_multiples(
            self, self.minimised.period, "the steps after which the objective renews its reference"
        )

    def _check_objective(self) -> None:
        """Raise `InputError` for an objective that cannot be trained so; give TRL its own part of it."""
        if self.minimised.whole_weights and (self.use_peft or self.fsdp or self.deepspeed):
            raise InputError(
                f"objective: {self.objective} needs whole weights: no use_peft, fsdp or deepspeed"
            )
        self.loss_type = self.minimised.loss_type

    @cached_property
    def minimised(self) -> Objective:
        return objective(self.objective, self.objective_args)

    @property
    def shows(self) -> Shows:
        """What the rows show."""
        rules = shown_rules(self.rules) if self.rules else (Shown(self.parsed_rule, 1.0),)
        wordings = tuple(map(template, self.templates)) if self.templates else (self.wording,)
        return Shows(rules, wordings, self.solutions, self.working, self.seed)

    @property
    def rows(self) -> int:
        """Rows of the training set."""
        return self.num_samples or self.max_steps * self.rows_per_step

    @property
    def rows_per_step(self) -> int:
        """The global batch: rows per optimiser step, over all processes."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps * self.world_size


def build_trainer(config: SFTConfig, model: Any, tokenizer: Any, callbacks: list[Any]) -> ObjectiveTrainer:
    """TRL's trainer on the rows that the config describes."""
    return ObjectiveTrainer(
        model,
        args=config,
        train_dataset=Dataset.from_list(_drawn(config)),
        processing_class=tokenizer,
        peft_config=config.peft_config,
        callbacks=callbacks,
        objective=config.minimised,
        parent=lambda: load_model(config),
    )


def _drawn(config: SFTConfig) -> list[dict[str, Any]]:
    """The rows of the whole run, in the order in which they are taken."""
    drawn = list(islice(rows(config.shows, config.asked, chat=config.apply_chat_template), config.rows))
    if not config.sort_batches:
        return drawn
    size = config.rows_per_step
    batches = (drawn[start : start + size] for start in range(0, len(drawn), size))
    return [row for batch in batches for row in sorted(batch, key=lambda row: len(str(row)))]


train = partial(train_run, "SFT", SFTConfig, build_trainer)
"""Settings -> the run's folder."""
