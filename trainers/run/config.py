"""The settings that SFT and PPO share in addition to TRL's: the model, the deals, the checkpoints' scores."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from points24.harness.checkpoints.locate import local
from points24.tasks.cards import Rule, parse_rule
from points24.tasks.errors import InputError
from points24.tasks.lm_eval.files import task_names
from points24.tasks.prompts import Template, template
from points24.tasks.protocols.protocol import DEFAULT, Protocol, read_protocol

if TYPE_CHECKING:
    from peft import LoraConfig

CURVE_TASKS = ("points24_id", "points24_id_heldout", "points24_ood")
DTYPES = ("float32", "bfloat16", "float16")


def at_least_1(config: object, *names: str) -> None:
    """Raise `InputError` for a field below 1; None passes."""
    for name in names:
        if (value := getattr(config, name)) is not None and value < 1:
            raise InputError(f"{name}: expected at least 1, found {value}")


def saved_at_multiples(config: Any, period: int, why: str) -> None:
    """Raise `InputError` if a state would be saved at a step from which the run could not go on exactly."""
    steps = [*config.save_at, *([config.save_steps] if config.save_strategy == "steps" else [])]
    if bad := [step for step in steps if step % period]:
        raise InputError(f"save_steps, save_at: expected multiples of {period}, {why}, found {bad[0]}")


def defaults_of(config_class: type) -> dict[str, Any]:
    """The default of every field of a dataclass; `MISSING` where it has none."""
    return {
        f.name: f.default_factory() if f.default_factory is not MISSING else f.default
        for f in fields(config_class)
    }


@dataclass
class RunConfig:
    """Mixed into TRL's config classes, whose fields keep their names and meanings."""

    model_name_or_path: str = "nano-base"
    """The parent: a model folder, a shipped model such as ``nano-base``, or a hub id."""
    dtype: str = "float32"
    """Of the weights in training and in checkpoints. (Adapters are merged into the parent as it is stored, in
    its own dtype.) With `bf16`, the forward pass runs under autocast."""
    attn_implementation: str | None = None

    num_processes: int | None = None
    """The number of processes that the settings are for. A run with another number, and so another global
    batch, is refused. None allows any."""
    fsdp: Any = None  # transformers 5 expects `true` but annotates it as text
    """True shards weights, gradients and optimiser over the processes, as `fsdp_config` says."""

    use_cache: bool = True
    """Value in the checkpoints' config.json, for generation; training itself uses no cache."""

    use_peft: bool = False
    """Train a LoRA adapter. Checkpoints hold the merged weights."""
    lora_r: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    lora_target_modules: str | list[str] = "all-linear"

    rule: str = "id"
    """The rule in training: ``id``, ``ood``, or a mapping such as ``J=5,Q=7,K=9``. The hands are those of
    `id_seen` with a solution under it; held-out numbers are never dealt."""
    protocol: str = DEFAULT
    """How deals are asked, answered and scored, and what the verifier says between attempts: ``points24``,
    ``paper``, or the folder that `points24 protocol import` wrote."""
    template: str | None = None
    """Path of a prompt template, for training and scoring; None takes the protocol's."""
    apply_chat_template: bool = False
    """Use the model's chat template in training and scoring, as lm-eval's flag of this name does."""

    save_at: list[int] = field(default_factory=list)
    """Steps of checkpoints in addition to those of `save_steps`, such as early ones."""
    score_tasks: list[str] = field(default_factory=lambda: list(CURVE_TASKS))
    """lm-eval tasks on which the parent and every checkpoint are scored; ``[]`` turns scoring off."""
    score_engine: str = "hf"
    """``hf`` scores each checkpoint when it is saved. ``vllm``, for one process, scores all of them after the
    last step, when the trainer's memory is free again: of long replies it generates many times as many."""
    score_model_args: dict[str, Any] = field(default_factory=dict)
    """lm-eval's ``--model_args`` for scoring, without the model and its dtype."""
    score_batch_size: int = 256
    """For hf."""
    score_dtype: str = "auto"
    """``auto`` scores each model in the dtype in which it is stored. If the parent's differs from the
    checkpoints', name one dtype for all: rounding changes some replies."""
    score_limit: int | None = None
    """Score only this many deals of each task, the first ones."""
    score_gen_kwargs: dict[str, Any] = field(default_factory=dict)
    """lm-eval's ``--gen_kwargs`` for scoring, such as ``{max_gen_toks: 320}`` for a model that works its
    answers out: of the tasks' 512 tokens, replies that never end would take all."""
    score_shift: bool = False
    """Also measure what each checkpoint believes about the deals of points24_id and points24_ood: the losses
    of the right replies and of the memorised rule's, and the rule preference; see `points24 shift`."""

    def check(self) -> None:
        """Raise `InputError` for a setting that no run can start with."""
        parse_rule(self.rule)
        template(self.template)
        read_protocol(self.protocol)
        if self.dtype not in DTYPES:
            raise InputError(f"dtype: expected {' or '.join(DTYPES)}, found {self.dtype!r}")
        if self.score_dtype not in ("auto", *DTYPES):
            raise InputError(
                f"score_dtype: expected auto or {' or '.join(DTYPES)}, found {self.score_dtype!r}"
            )
        if self.score_engine not in ("hf", "vllm"):
            raise InputError(f"score_engine: expected hf or vllm, found {self.score_engine!r}")
        if unknown := [name for name in self.score_tasks if name not in task_names()]:
            raise InputError(
                f"score_tasks: unknown task {', '.join(map(repr, unknown))}; "
                f"allowed: {', '.join(task_names())}"
            )
        at_least_1(self, "score_batch_size", "score_limit", "lora_r", "num_processes")
        if bad := [step for step in self.save_at if step < 1]:
            raise InputError(f"save_at: expected steps from 1 on, found {bad[0]}")

    @property
    def parent(self) -> str | Path:
        """The parent's folder, or its hub id."""
        return local(self.model_name_or_path) or self.model_name_or_path

    @property
    def asked(self) -> Protocol:
        return read_protocol(self.protocol)

    @property
    def wording(self) -> Template:
        """The prompt: `template`, or else the protocol's."""
        return template(self.template) if self.template else self.asked.prompt

    @property
    def score_metadata(self) -> dict[str, str]:
        """lm-eval's ``--metadata`` for scoring: what differs from the tasks' own."""
        changed = {"protocol": self.protocol} if self.protocol != DEFAULT else {}
        return changed | ({"template": self.template} if self.template else {})

    @property
    def parsed_rule(self) -> Rule:
        return parse_rule(self.rule)

    @property
    def peft_config(self) -> LoraConfig | None:
        """The adapter's settings for TRL; None trains every parameter."""
        if not self.use_peft:
            return None
        try:
            from peft import LoraConfig
        except ModuleNotFoundError as e:
            raise InputError("use_peft: peft is not installed: pip install 'points24[train]'") from e
        return LoraConfig(
            task_type="CAUSAL_LM",
            r=self.lora_r,
            lora_alpha=self.lora_alpha,
            lora_dropout=self.lora_dropout,
            target_modules=self.lora_target_modules,
        )
