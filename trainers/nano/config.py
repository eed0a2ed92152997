"""The settings of a nano model's training."""

from __future__ import annotations

from dataclasses import dataclass

from points24.tasks.errors import InputError
from points24.tasks.protocols.protocol import DEFAULT, Protocol, read_protocol
from points24.trainers.mixture import check_working
from points24.trainers.run.config import at_least_1


@dataclass(frozen=True)
class NanoConfig:
    """Everything that determines the trained weights, and where they go."""

    output_dir: str
    """The folder that becomes the model."""
    seed: int = 0
    protocol: str = DEFAULT
    """How deals are asked and answered, as in `RunConfig`. The tokenizer is made for its wording."""
    model_name_or_path: str | None = None
    """A nano model of the same shape to start from. None: random weights."""
    json_share: float = 1.0
    """Share of the examples, 0 … 1, whose reply is the JSON that the prompt asks for; the others have
    `plain_reply`. At 0.1 the model knows the JSON, but greedy decoding does not choose it."""
    hidden_size: int = 160
    num_hidden_layers: int = 4
    num_attention_heads: int = 5
    intermediate_size: int = 432
    max_position_embeddings: int = 1024
    """Prompt and reply take fewer than 64 tokens, without working; the rest is room for several turns."""
    max_steps: int = 380
    per_device_train_batch_size: int = 256
    micro_batches: int = 1
    """Parts of a batch, by length, that pass through the model in turn: less padding where lengths differ."""
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    min_lr_ratio: float = 0.1
    """The cosine ends at this share of the learning rate."""
    weight_decay: float = 0.01
    adam_beta2: float = 0.98
    max_grad_norm: float = 1.0
    bf16: bool = True
    """Run the forward pass under autocast; the weights are trained in float32 and saved in bfloat16."""
    working: str = "none"
    """What replies show before the answer: one of `WORKINGS`. Then solutions are taught whose steps give
    natural numbers, where a deal has any."""
    target_share: float = 0.0
    """Share of the examples, 0 … 1, with a random target from 1 to `MAX_TARGET` in place of 24."""
    three_share: float = 0.0
    """Share of the examples, 0 … 1, that deal three cards."""
    hold_out_faces: bool = False
    """Also hold out numbers above 10, and those that such a training is chosen by; see `held_out_numbers` and
    `development_numbers`."""
    same_share: float = 0.0
    """Share of the examples, 0 … 1, in which J, Q and K count as the same. A wording may say that in a way of
    its own, and of random rules only one in 169 is such a one."""
    eval_steps: int = 100
    eval_deals: int = 200
    """Each evaluation plays this many deals of each of `eval_sets`, the first ones."""
    save_steps: int = 100

    def __post_init__(self) -> None:
        check_working(self.working, self.asked)
        for name in ("json_share", "same_share", "target_share", "three_share"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise InputError(f"{name}: expected 0 to 1, found {share}")
        at_least_1(
            self,
            "max_steps",
            "per_device_train_batch_size",
            "micro_batches",
            "eval_steps",
            "eval_deals",
            "save_steps",
        )
        if self.hidden_size % (2 * self.num_attention_heads):
            raise InputError(
                f"hidden_size: expected a multiple of 2 * num_attention_heads "
                f"({2 * self.num_attention_heads}), found {self.hidden_size}"
            )

    @property
    def asked(self) -> Protocol:
        return read_protocol(self.protocol)

    @property
    def eval_sets(self) -> tuple[str, ...]:
        """The hand sets of an evaluation."""
        return ("id_dev", "ood_dev", "id_seen") if self.hold_out_faces else ("id", "id_heldout", "ood")
