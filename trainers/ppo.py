"""Proximal policy optimisation with a verifier's rewards and a learned critic, on TRL's GRPOTrainer.

TRL dropped its own PPO in 1.13. GRPOTrainer provides everything but the algorithm: model and reference, LoRA,
generation by transformers or vLLM, the buffer of rollouts and its replay, distributed training. PPOTrainer
replaces two of its methods: the one that generates and scores completions, and the loss. The maths is in
`ppo_math`.

An episode is one deal, in up to `max_turns` replies; between two replies the protocol's verifier says what is
wrong. Each reply is rewarded at its last token. The critic is a linear layer on the last hidden state and
shares the model with the policy.

Departures from the PPO of arXiv:2508.16546, as its repository has it: one ratio and one advantage per token
instead of per reply (where tokens before "formula" weigh half, and a ratio above 10 is always clipped);
discounts within a reply apart from those between replies; a linear value head instead of an MLP; whole
episodes instead of a fixed number of replies. After five failed replies it samples a sixth, pays −1 for it
unread, and discounts on into the next deal; here an episode ends with its last reply. The load-balancing loss
of mixtures of experts is not added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from trl.trainer.grpo_trainer import GRPOTrainer

from points24.tasks.cards import Deal, Rule
from points24.tasks.protocols.protocol import Protocol
from points24.tasks.rewards.tables import Reward, rewards
from points24.tasks.verdict import Verdict
from points24.trainers import ppo_math
from points24.trainers.deals import deals, prompt_row
from points24.trainers.episodes import Episode, collate, padded, reward_tensors
from points24.trainers.ppo_config import PPOConfig
from points24.trainers.run.folder import VALUE_HEAD
from points24.trainers.run.run import train_run
from points24.trainers.turns import message_tokens


class PPOTrainer(GRPOTrainer):
    """Plays deals, rewards the replies, and learns from every token chosen."""

    _tag_names: ClassVar = ["trl", "ppo"]
    _name = "PPO"
    args: PPOConfig
    accelerator: Any
    model: Any
    processing_class: Any
    chat_template_kwargs: Any

    def __init__(
        self, model: Any, args: PPOConfig, rule: Rule, protocol: Protocol, reward: Reward, **kwargs: Any
    ):
        super().__init__(model, reward_funcs=[_rewarded_here], args=args, **kwargs)
        self.rule, self.protocol, self.reward = rule, protocol, reward
        base = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        hidden, dtype = base.config.get_text_config().hidden_size, next(base.parameters()).dtype
        # Part of the model, so that the optimiser, DDP and FSDP see it, but not of its weights files.
        self.value_head = nn.Linear(hidden, 1).to(self.accelerator.device, dtype)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)
        base.value_head = self.value_head
        ignored = {*(base._keys_to_ignore_on_save or ()), "value_head.weight", "value_head.bias"}
        base._keys_to_ignore_on_save = ignored
        if isinstance(args.parent, Path) and (args.parent / VALUE_HEAD).exists():
            self._load_value_head(args.parent)
        self._values: list[Tensor] | None = None
        base.base_model.register_forward_hook(self._keep_values)
        if self.use_vllm:  # vLLM's copy of the model has no value head
            named = self.vllm_generation._iter_named_params
            self.vllm_generation._iter_named_params = lambda: (
                item for item in named() if "value_head" not in item[0]
            )

    # What is played

    def _play(self, rows: Sequence[dict[str, Any]]) -> list[Episode]:
        prompts, _, _ = self._tokenize_prompts([row["prompt"] for row in rows])
        episodes = [
            Episode(Deal(tuple(row["cards"]), self.rule), prompt)
            for row, prompt in zip(rows, prompts, strict=True)
        ]
        alive = list(episodes)
        for turn in range(self.args.max_turns):
            # Generation may be collective (vLLM server, sharded weights): finished processes take part.
            if not self._sum(torch.tensor(len(alive), device=self.accelerator.device)):
                break
            playing = alive or episodes[:1]
            replies: Any
            log_probs: Any
            replies, log_probs = self._generate_single_turn(
                [episode.prompt + episode.tokens for episode in playing], None, {}, 1
            )
            texts = self.processing_class.batch_decode(replies, skip_special_tokens=True)
            still = []
            for i, episode in enumerate(alive):
                found = self.protocol.verify(episode.deal, texts[i])
                reward = self.reward(episode.deal, found.judgement)
                episode.add_reply(replies[i], log_probs and log_probs[i], found.judgement.verdict, reward)
                if found.message is not None and turn + 1 < self.args.max_turns:
                    tokens = message_tokens(
                        self.processing_class, self.eos_token_ids, replies[i], found.message,
                        **self.chat_template_kwargs,
                    )  # fmt: skip
                    episode.add_message(tokens)
                    still.append(episode)
            alive = still
        return episodes

    # What is learned from it

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Play the deals of one generation batch; returns what the loss needs, with a row per episode."""
        args, device = self.args, self.accelerator.device
        episodes = self._play(inputs)
        batch = collate(episodes, self._tokenizer.pad_token_id, device)
        mask = batch["mask"]
        earned, turn_ends = reward_tensors(episodes, mask)
        with torch.no_grad():
            log_probs, _, values = self._forward(self.model, batch, args.per_device_train_batch_size)
            if args.beta:
                reference = self._reference_log_probs(batch)
                self._note_token_means(mask, {"kl": log_probs - reference})
                shaped = ppo_math.kl_shaped(earned, log_probs, reference, mask, args.beta)
            else:
                shaped = earned
        values = values * mask
        discounts = ppo_math.Discounts(args.gamma, args.lam, args.turn_gamma, args.turn_lam)
        advantages = ppo_math.gae(shaped, values, mask, turn_ends, discounts)
        returns = advantages + values
        self._note_rollout(episodes, earned, ppo_math.explained_variance(values, returns, mask))
        batch |= {
            "old_log_probs": log_probs,
            "old_values": values,
            "returns": returns,
            "advantages": ppo_math.whiten(advantages, mask, self._sum) if args.whiten else advantages,
            "num_items_in_batch": self._sum(mask.sum()),
        }
        if episodes[0].log_probs:
            sampled = padded([e.log_probs for e in episodes], "right", 0.0, device)
            # Truncated importance sampling: the sampler's probabilities differ slightly from the model's.
            correction = (log_probs - sampled).nan_to_num(0.0).exp()
            batch["correction"] = correction.clamp(max=args.vllm_importance_sampling_clip_max)
        return batch

    def _compute_loss(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        args, mask = self.args, inputs["mask"]
        log_probs, entropy, values = self._forward(model, inputs, None)
        policy = ppo_math.policy_loss(log_probs, inputs["old_log_probs"], inputs["advantages"], args.epsilon)
        value = ppo_math.value_loss(values, inputs["old_values"], inputs["returns"], args.vf_clip)
        policy_loss = policy.loss * inputs.get("correction", 1.0)
        # The mean over all tokens of the rollout, so that its split into micro-batches and processes does
        # not matter.
        micro_batches = args.steps_per_generation * self.accelerator.num_processes
        tokens = inputs["num_items_in_batch"].clamp(min=1) / micro_batches
        loss = ((policy_loss + args.vf_coef * value - args.entropy_coef * entropy) * mask).sum() / tokens
        with torch.no_grad():
            parts = {
                "policy_loss": policy_loss,
                "value_loss": value,
                "entropy": entropy,
                "clip_fraction": policy.clipped,
                # Schulman's estimate of the divergence from the policy that played, (r − 1) − log r.
                "approx_kl": policy.log_ratio.exp() - 1 - policy.log_ratio,
            }
            self._note_token_means(mask, parts)
        accumulated = self.current_gradient_accumulation_steps if self.model.training else 1
        return loss / accumulated

    def _forward(
        self, model: Any, batch: dict[str, Tensor], chunk: int | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probability (at the sampling temperature; 0 where the mask is false), entropy (nats), value."""
        self._values = []
        try:
            log_probs, entropy, _ = self._logps(model, batch, chunk, compute_entropy=True)
            values = torch.cat(self._values)
        finally:
            self._values = None
        # Messages get ratio 1: a ratio that overflows would give nan even where it is masked.
        log_probs = log_probs.masked_fill(~batch["mask"], 0.0)
        # A token is chosen in the state of the token before it.
        return log_probs, entropy, values[:, -batch["completion_ids"].shape[1] - 1 : -1]

    def _logps(
        self, model: Any, batch: dict[str, Tensor], chunk: int | None, compute_entropy: bool = False
    ) -> Any:
        return self._get_per_token_logps_and_entropies(
            model,
            torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1),
            torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1),
            batch["completion_ids"].shape[1],
            batch_size=chunk,
            compute_entropy=compute_entropy,
        )

    def _reference_log_probs(self, batch: dict[str, Tensor]) -> Tensor:
        chunk = self.args.per_device_train_batch_size
        if self.ref_model is not None:
            return self._logps(self.ref_model, batch, chunk)[0]
        with self.accelerator.unwrap_model(self.model).disable_adapter():
            return self._logps(self.model, batch, chunk)[0]

    def _keep_values(self, module: nn.Module, args: Any, output: Any) -> None:
        """A hook of the model's forward pass, because sharded weights are whole only there."""
        if self._values is not None:
            hidden = output.last_hidden_state.to(self.value_head.weight.dtype)
            self._values.append(self.value_head(hidden).squeeze(-1).float())

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """As in transformers; with `vf_learning_rate`, the value head is a parameter group of its own."""
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(*args, **kwargs)
        rate = self.args.vf_learning_rate
        if is_new and rate is not None:
            head = list(self.value_head.parameters())
            for group in optimizer.param_groups:
                group["params"] = [p for p in group["params"] if all(p is not mine for mine in head)]
            optimizer.add_param_group({"params": head, "lr": rate, "weight_decay": 0.0})
        return optimizer

    # What is kept

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        # Of sharded training these are the gathered weights, from which transformers takes out the head.
        weights = state_dict if state_dict is not None else self.model.state_dict()
        head = {key.rpartition(".")[2]: x.cpu() for key, x in weights.items() if "value_head." in key}
        super()._save(output_dir, state_dict)
        if self.args.should_save:  # one process writes
            torch.save(head, Path(output_dir or str(self.args.output_dir), VALUE_HEAD))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self._load_value_head(Path(resume_from_checkpoint))

    def _load_value_head(self, folder: Path) -> None:
        head = torch.load(folder / VALUE_HEAD, weights_only=True)
        # Unlike the module's own method, it takes whole weights apart where the module's are sharded.
        set_model_state_dict(self.value_head, head, options=StateDictOptions(full_state_dict=True))

    # What is logged

    def _note_rollout(self, episodes: list[Episode], earned: Tensor, explained_variance: Tensor) -> None:
        last = [episode.verdicts[-1] for episode in episodes]
        found = {
            "reward": earned.sum(1).mean().item(),
            **{f"verdict/{verdict.value}": last.count(verdict) / len(last) for verdict in Verdict},
            "turns": fmean(len(episode.verdicts) for episode in episodes),
            "reply_tokens": fmean(sum(episode.chosen) for episode in episodes),
            "explained_variance": explained_variance.item(),
        }
        means = self._sum(torch.tensor(list(found.values()), device=earned.device))
        self._note(found, means / self.accelerator.num_processes)

    def _note_token_means(self, mask: Tensor, parts: dict[str, Tensor]) -> None:
        """Log the mean of each part over the policy's tokens of all processes."""
        *totals, n = self._sum(torch.stack([*((x * mask).sum() for x in parts.values()), mask.sum()]))
        self._note(parts, torch.stack(totals) / n.clamp(min=1))

    def _note(self, names: Iterable[str], values: Tensor) -> None:
        """GRPOTrainer logs the mean of the values noted since the last log."""
        for name, value in zip(names, values.tolist(), strict=True):
            self._metrics["train"][name].append(value)

    def _sum(self, x: Tensor) -> Tensor:
        return self.accelerator.reduce(x, "sum")


def _rewarded_here(**_: Any) -> list[float | None]:
    """GRPOTrainer requires a reward function; PPOTrainer rewards turn by turn and never calls it."""
    raise NotImplementedError


def build_trainer(config: PPOConfig, model: Any, tokenizer: Any, callbacks: list[Any]) -> PPOTrainer:
    """The trainer on the deals that the run will play."""
    rows = [
        prompt_row(deal, config.wording, config.apply_chat_template) | {"cards": list(deal.cards)}
        for deal in islice(deals(config.parsed_rule, config.seed), config.deals_to_play)
    ]
    return PPOTrainer(
        model,
        config,
        config.parsed_rule,
        config.asked,
        rewards(config.rewards),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=config.peft_config,
        callbacks=callbacks,
    )


train = partial(train_run, "PPO", PPOConfig, build_trainer)
"""Settings -> the run's folder."""
