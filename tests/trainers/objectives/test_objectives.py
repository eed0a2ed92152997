"""Each objective against its equation, on a toy by hand and on a batch by numpy; and in runs."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from trl.trainer.sft_trainer import SFTTrainer

from points24.harness.checkpoints.digest import weights_digest
from points24.harness.config import configured
from points24.tasks.errors import InputError
from points24.trainers import sft
from points24.trainers.objectives import OBJECTIVES, objective
from points24.trainers.objectives.kl import divergence
from points24.trainers.objectives.objective import ObjectiveTrainer
from points24.trainers.objectives.psft import surrogate
from points24.trainers.objectives.rpsft import block, penalty
from points24.trainers.run.models import load_model, load_tokenizer
from points24.trainers.run.run import on_this_machine
from points24.trainers.sft import SFTConfig
from tests.trainers.conftest import SETTINGS
from tests.trainers.run.test_runs import losses, train_by_one_and_two

SHORT = SETTINGS["sft"] | {"score_tasks": [], "learning_rate": 1e-3}
ARGS = {"kl": {"coef": 0.5}, "psft": {"window": 4}, "rpsft": {"coef": 0.5, "share": 0.25}}


# -- equations -------------------------------------------------------------------------------------------


def test_the_divergence_of_two_tokens_by_hand():
    logits = torch.tensor([[0.9, 0.1], [0.5, 0.5]]).log()
    reference = torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log()
    expected = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert divergence(logits, reference).tolist() == pytest.approx([expected, 0.0], abs=1e-6)


def test_the_surrogate_by_hand():
    old = torch.tensor([0.5, 0.5, 0.5]).log()
    now = torch.tensor([0.3, 0.55, 0.9]).log()
    # Ratios 0.6, 1.1 and 1.8: the minimum keeps the first, and clips the last at 1.28.
    assert surrogate(now, old, 0.2, 0.28).tolist() == pytest.approx([-0.6, -1.1, -1.28])


def test_a_turn_of_the_leading_directions_costs_and_one_outside_does_not():
    kept = block(torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5])), 0.5)

    def turned(i, j, angle=0.1):
        turn = torch.eye(4)
        turn[i, i] = turn[j, j] = math.cos(angle)
        turn[i, j], turn[j, i] = -math.sin(angle), math.sin(angle)
        return penalty(turn @ torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5])), kept).item()

    c, s = math.cos(0.1), math.sin(0.1)
    # The block becomes [[3c, -2s], [3s, 2c]], less diag(3, 2).
    assert turned(0, 1) == pytest.approx((3 * c - 3) ** 2 + (2 * s) ** 2 + (3 * s) ** 2 + (2 * c - 2) ** 2)
    assert turned(2, 3) == pytest.approx(0, abs=1e-12)
    assert penalty(torch.diag(torch.tensor([3.0, 2.5, 9.0, 9.0])), kept).item() == pytest.approx(0.25)


@pytest.mark.parametrize("name", ["divergence", "surrogate", "penalty"])
def test_gradients_pass_a_finite_difference_check(name):
    torch.manual_seed(0)
    x, y = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    kept = block(y, 0.6)
    function = {
        "divergence": lambda x: divergence(x, y),
        "surrogate": lambda x: surrogate(x / 9, y / 9, 0.2, 0.28),
        "penalty": lambda x: penalty(x, kept),
    }[name]
    assert torch.autograd.gradcheck(function, x.requires_grad_())


# -- on a batch ------------------------------------------------------------------------------------------


def made(tmp_path, name, **settings) -> Any:
    given = SHORT | {"output_dir": str(tmp_path), "objective": name, "objective_args": ARGS.get(name, {})}
    config = configured(SFTConfig, on_this_machine(given | settings))
    model, tokenizer = load_model(config), load_tokenizer(config.parent, chat=False)
    trainer: Any = sft.build_trainer(config, model, tokenizer, [])
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer


def chosen(model, batch):
    """Log-probabilities (n, vocabulary) in double precision, and the n labelled tokens."""
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    targets = batch["labels"].numpy()[:, 1:]
    logits = logits.double().numpy()[:, :-1][targets != -100]
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True)), targets[targets != -100]


def expected_loss(name, ours, theirs, targets, moved):
    """By the equations, in numpy."""
    place = np.arange(len(targets)), targets
    if name == "nll":
        return -ours[place].mean()
    if name == "dft":
        return -(np.exp(ours[place]) * ours[place]).mean()
    if name == "kl":
        return (-ours[place] + 0.5 * (np.exp(ours) * (ours - theirs)).sum(-1)).mean()
    if name == "psft":
        ratio = np.exp(ours[place] - theirs[place])
        return -np.minimum(ratio, np.clip(ratio, 0.8, 1.28)).mean()
    turned = 0.0
    for before, after in moved:
        u, s, vt = np.linalg.svd(before)
        k = math.ceil(0.25 * len(s))
        turned += ((u[:, :k].T @ (after - before) @ vt[:k].T) ** 2).sum()
    return -ours[place].mean() + 0.5 * turned


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_of_a_batch_is_that_of_the_equation(tmp_path, name):
    trainer = made(tmp_path, name)
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=None)  # psft: from here on it is old
    parent = load_model(trainer.args)
    torch.manual_seed(0)
    with torch.no_grad():
        for p in trainer.model.parameters():
            p.add_(0.02 * torch.randn_like(p))
    matrices = {
        n: p for n, p in parent.named_parameters() if p.ndim == 2 and "embed" not in n and "head" not in n
    }
    now = dict(trainer.model.named_parameters())
    moved = [(p.detach().double().numpy(), now[n].detach().double().numpy()) for n, p in matrices.items()]
    (ours, targets), (theirs, _) = chosen(trainer.model, batch), chosen(parent, batch)
    loss = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=None).item()
    assert loss == pytest.approx(expected_loss(name, ours, theirs, targets, moved), rel=2e-5)


def test_the_shares_of_micro_batches_add_up(tmp_path):
    for name in OBJECTIVES:
        trainer = made(tmp_path, name)
        batch = next(iter(trainer.get_train_dataloader()))
        whole = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=None).item()
        tokens = (batch["labels"][:, 1:] != -100).sum()
        trainer.current_gradient_accumulation_steps = 2
        halves = [{key: x[half] for key, x in batch.items()} for half in (slice(0, 4), slice(4, 8))]
        shares = [
            trainer.compute_loss(trainer.model, half, num_items_in_batch=tokens).item() for half in halves
        ]
        assert sum(shares) == pytest.approx(whole, rel=1e-5), name


# -- in runs ---------------------------------------------------------------------------------------------


def test_nll_gives_the_weights_of_plain_trl(tmp_path):
    ours = sft.train(SHORT | {"output_dir": str(tmp_path / "ours")})
    trainer = made(tmp_path / "theirs", "nll")
    plain = SFTTrainer(
        load_model(trainer.args),
        args=trainer.args,
        train_dataset=trainer.train_dataset,
        processing_class=trainer.processing_class,
    )
    plain.train()
    plain.save_model(str(tmp_path / "theirs"))
    assert weights_digest(ours.checkpoint(8)) == weights_digest(tmp_path / "theirs")


def test_nll_of_the_replies_alone_has_the_gradients_of_nll(tmp_path):
    gradients = []
    for args in ({}, {"replies_alone": True}):
        trainer = made(tmp_path, "nll", objective_args=args)
        batch = next(iter(trainer.get_train_dataloader()))
        trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=torch.tensor(50)).backward()
        gradients.append({name: p.grad for name, p in trainer.model.named_parameters()})
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["kl", "psft", "rpsft"])
def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path, monkeypatch, name):
    settings = SHORT | {"objective": name, "objective_args": ARGS[name]}
    undisturbed = sft.train(settings | {"output_dir": str(tmp_path / "one")})
    whole, steps = ObjectiveTrainer.training_step, []

    def interrupted(self, *args, **kwargs):
        steps.append(self.state.global_step)
        if self.state.global_step == 6:
            raise KeyboardInterrupt
        return whole(self, *args, **kwargs)

    other = settings | {"output_dir": str(tmp_path / "two")}
    with monkeypatch.context() as patch:
        patch.setattr(ObjectiveTrainer, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sft.train(other)
    resumed = sft.train(other)
    assert steps == [0, 1, 2, 3, 4, 5, 6]
    assert weights_digest(resumed.checkpoint(8)) == weights_digest(undisturbed.checkpoint(8))
    assert losses(resumed.path) == losses(undisturbed.path)


@pytest.mark.parametrize(
    "name", ["psft", *(pytest.param(n, marks=pytest.mark.slow) for n in ("dft", "kl", "rpsft"))]
)
def test_two_processes_train_as_one(tmp_path, name):
    args = {"psft": {"window": 1}}.get(name, ARGS.get(name, {}))
    settings = SHORT | {"max_steps": 2, "save_steps": 2, "objective": name, "objective_args": args}
    train_by_one_and_two("sft", settings, tmp_path)


# -- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "mse"}, "objective: expected nll or dft or kl or psft or rpsft, found 'mse'"),
        ({"objective": "kl", "objective_args": {"beta": 1.0}}, "objective_args: unknown key 'beta'; allowed: coef"),
        ({"objective": "kl", "objective_args": {"coef": -1.0}}, "coef: expected at least 0, found -1.0"),
        ({"objective": "psft", "objective_args": {"clip_low": 1.0}}, "clip_low: expected more than 0 and less than 1"),
        ({"objective": "psft", "objective_args": {"window": 0}}, "window: expected at least 1, found 0"),
        ({"objective": "psft", "save_steps": 3}, "save_steps, save_at: expected multiples of 8, the steps after"),
        ({"objective": "rpsft", "objective_args": {"share": 0.0}}, "share: expected more than 0 and at most 1"),
        ({"objective": "rpsft", "use_peft": True}, "objective: rpsft needs whole weights: no use_peft"),
        ({"objective": "nll", "objective_args": {"coef": 1.0}}, "objective_args: unknown key 'coef'; allowed: replies_alone"),
    ],
)  # fmt: skip
def test_bad_settings_are_named(tmp_path, settings, message):
    with pytest.raises(InputError) as error:
        configured(
            SFTConfig, on_this_machine(SHORT | {"output_dir": str(tmp_path), "save_steps": 8} | settings)
        )
    assert message in str(error.value)


def test_an_objective_is_found_by_name():
    assert {name: type(objective(name, {})) for name in OBJECTIVES} == OBJECTIVES
