import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import log_softmax

from points24.harness.config import configured
from points24.tasks.errors import InputError
from points24.tasks.prompts import template
from points24.tasks.rewards.tables import TABLES
from points24.tasks.verdict import Verdict, judge_reply
from points24.trainers import ppo
from points24.trainers.ppo import build_trainer
from points24.trainers.ppo_config import PPOConfig
from points24.trainers.run.models import load_model, load_tokenizer
from points24.trainers.run.run import on_this_machine
from tests.trainers.conftest import SETTINGS
from tests.trainers.run.test_runs import log, losses

ONE_ROLLOUT = SETTINGS["ppo"] | {"steps_per_generation": 1, "num_iterations": 1, "max_steps": 2}


@pytest.fixture
def trainer(tmp_path):
    def make(**settings):
        config = configured(
            PPOConfig, on_this_machine(ONE_ROLLOUT | {"output_dir": str(tmp_path)} | settings)
        )
        model, tokenizer = load_model(config), load_tokenizer(config.parent, chat=config.apply_chat_template)
        made = build_trainer(config, model, tokenizer, [])
        made.model.train()
        made.current_gradient_accumulation_steps = 1
        return made

    return make


def rollout(trainer):
    rows = [trainer.train_dataset[i] for i in range(8)]
    return trainer._generate_and_score_completions(rows)


def plain_log_probs(trainer, batch):
    """By the model's own logits, nothing of TRL's."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    # TRL feeds left-padded rows without position ids; nano prompts are all of one length, so none are padded.
    assert batch["prompt_mask"].all()
    logits = trainer.model(input_ids=ids, attention_mask=attention).logits / trainer.args.temperature
    n = batch["completion_ids"].shape[1]
    probabilities = log_softmax(logits[:, -n - 1 : -1], -1)
    return probabilities.gather(-1, batch["completion_ids"][..., None])[..., 0], probabilities


def gradients(trainer, loss):
    trainer.model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}


def assert_same(ours, theirs):
    for name in ours.keys() | theirs.keys():
        a, b = (x.get(name, torch.zeros(())) for x in (ours, theirs))
        assert torch.allclose(a, b, atol=2e-6, rtol=1e-4), name


def test_without_clip_the_gradient_is_the_plain_policy_gradient(trainer):
    made = trainer(epsilon=1e9, vf_coef=0.0, whiten=False, temperature=0.7)
    batch = rollout(made)
    ours = gradients(made, made.compute_loss(made.model, batch))
    chosen, _ = plain_log_probs(made, batch)
    objective = (chosen * batch["advantages"] * batch["mask"]).sum() / batch["mask"].sum()
    theirs = gradients(made, -objective)
    assert max(grad.abs().max() for grad in theirs.values()) > 1e-3
    assert_same(ours, theirs)


def test_the_loss_is_policy_plus_value_less_entropy_worked_out_with_plain_torch(trainer):
    made = trainer(epsilon=0.1, vf_coef=0.3, vf_clip=0.5, entropy_coef=0.02)
    torch.nn.init.normal_(made.value_head.weight, std=0.1)
    batch = rollout(made)
    with torch.no_grad():  # move away from the policy that played, so that some ratios are clipped
        for p in made.model.model.parameters():
            p.add_(0.01 * torch.randn_like(p))
    ours = gradients(made, made.compute_loss(made.model, batch))

    mask, n = batch["mask"], batch["mask"].sum()
    chosen, probabilities = plain_log_probs(made, batch)
    ratio = (chosen - batch["old_log_probs"]).exp()
    assert ((ratio - 1).abs() > 0.1)[mask].any()
    clipped = ratio.clamp(0.9, 1.1)
    policy = -torch.minimum(ratio * batch["advantages"], clipped * batch["advantages"])
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    hidden = made.model.model(input_ids=ids, attention_mask=attention).last_hidden_state
    values = made.value_head(hidden)[:, -mask.shape[1] - 1 : -1, 0]
    near = batch["old_values"] + (values - batch["old_values"]).clamp(-0.5, 0.5)
    value = torch.maximum((values - batch["returns"]) ** 2, (near - batch["returns"]) ** 2) / 2
    entropy = -(probabilities.exp() * probabilities).sum(-1)
    theirs = gradients(made, ((policy + 0.3 * value - 0.02 * entropy) * mask).sum() / n)
    assert_same(ours, theirs)


def test_rewards_stand_at_the_last_token_of_each_reply(trainer):
    made = trainer(gamma=0.0, lam=0.0, whiten=False)  # returns are then the rewards themselves
    batch = rollout(made)
    for i in range(8):
        tokens = batch["completion_ids"][i][batch["mask"][i]]
        reply = made.processing_class.decode(tokens, skip_special_tokens=True)
        row = made.train_dataset[i]
        deal = ppo.Deal(tuple(row["cards"]), made.rule)
        expected = torch.zeros(len(tokens))
        expected[-1] = TABLES["verdict"][judge_reply(deal, reply).verdict]
        assert torch.equal(batch["returns"][i][batch["mask"][i]], expected)


def test_the_verifiers_messages_are_read_but_not_learned(trainer):
    made = trainer(apply_chat_template=True, max_turns=3, max_completion_length=32)
    rows = [made.train_dataset[i] for i in range(8)]
    episodes = made._play(rows)
    assert any(len(episode.verdicts) > 1 for episode in episodes)
    for episode in episodes:
        assert all(verdict is not Verdict.CORRECT for verdict in episode.verdicts[:-1])
        assert len(episode.verdicts) == 3 or episode.verdicts[-1] is Verdict.CORRECT
        message = ""
        starts = [0, *(end + 1 for end in episode.turn_ends)]
        for start, end, verdict in zip(starts, episode.turn_ends, episode.verdicts, strict=False):
            span = list(zip(episode.tokens[start : end + 1], episode.chosen[start : end + 1], strict=True))
            told = made.processing_class.decode([t for t, chosen in span if not chosen])
            assert told == message
            reply = made.processing_class.decode(
                [t for t, chosen in span if chosen], skip_special_tokens=True
            )
            found = made.protocol.verify(episode.deal, reply)
            message = found.message
            assert found.judgement.verdict is verdict


def test_a_dialogue_in_training_is_that_of_the_revision_tasks(trainer):
    """The model reads before each reply what `points24.tasks.lm_eval.revise` would send."""
    made = trainer(apply_chat_template=True, max_turns=3, max_completion_length=64)
    tokenizer = made.processing_class
    turns = 0
    for episode in made._play([made.train_dataset[i] for i in range(8)]):
        messages = [{"role": "user", "content": template().render(episode.deal)}]
        first, message = 0, None
        for end in episode.turn_ends:
            while not episode.chosen[first]:
                first += 1
            read = tokenizer.decode(episode.prompt + episode.tokens[:first])
            sent = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            assert read == sent
            reply = tokenizer.decode(episode.tokens[first : end + 1], skip_special_tokens=True)
            message = made.protocol.verify(episode.deal, reply).message
            told = [{"role": "assistant", "content": reply}, {"role": "user", "content": message}]
            messages, first, turns = messages + told, end + 1, turns + 1
        assert message is None or len(episode.turn_ends) == 3
    assert turns > 8


def test_micro_batches_add_up_to_the_large_batch(tmp_path):
    settings = ONE_ROLLOUT | {"top_k": 1, "score_tasks": [], "save_steps": 2}
    large = settings | {"per_device_train_batch_size": 16, "output_dir": str(tmp_path / "large")}
    small = settings | {
        "per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "steps_per_generation": 4,
        "output_dir": str(tmp_path / "small"),
    }  # fmt: skip
    runs = [ppo.train(large), ppo.train(small)]
    for (step, loss, norm), (_, their_loss, their_norm) in zip(*(losses(r.path) for r in runs), strict=True):
        assert loss == pytest.approx(their_loss, abs=1e-5), step
        assert norm == pytest.approx(their_norm, rel=1e-3), step
    ours, theirs = (load_file(run.checkpoint(2) / "model.safetensors") for run in runs)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in ours)


@pytest.mark.parametrize("lora", [False, True])
def test_the_divergence_from_the_parent_starts_at_nothing(tmp_path, lora):
    settings = ONE_ROLLOUT | {"beta": 0.1, "use_peft": lora, "score_tasks": [], "learning_rate": 3e-3}
    run = ppo.train(settings | {"max_steps": 4, "output_dir": str(tmp_path / "run")})
    kl = [row["kl"] for row in log(run.path) if "kl" in row]
    assert kl[0] == pytest.approx(0, abs=1e-5)
    assert kl[-1] > 1e-3


def test_a_samplers_own_log_probs_correct_the_loss(trainer):
    made = trainer(vllm_importance_sampling_clip_max=1.5)
    play = made._generate_single_turn

    def sampled(*args):
        tokens, _ = play(*args)
        return tokens, [[-0.3] * len(row) for row in tokens]

    made._generate_single_turn = sampled
    batch = rollout(made)
    expected = (batch["old_log_probs"] + 0.3).exp().clamp(max=1.5)
    assert torch.allclose(batch["correction"][batch["mask"]], expected[batch["mask"]])
    plain = made.compute_loss(made.model, {k: v for k, v in batch.items() if k != "correction"})
    assert made.compute_loss(made.model, batch) != plain


def test_the_critic_of_a_ppo_parent_is_kept(tmp_path, trainer):
    first = ppo.train(ONE_ROLLOUT | {"score_tasks": [], "save_steps": 2, "output_dir": str(tmp_path / "run")})
    made = trainer(model_name_or_path=str(first.checkpoint(2)), output_dir=str(tmp_path / "next"))
    saved = torch.load(first.checkpoint(2) / "value_head.pt", weights_only=True)
    assert saved["bias"].abs().item() > 0
    assert torch.equal(made.value_head.bias, saved["bias"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_turns": 2}, "max_turns: several attempts need apply_chat_template: true"),
        ({"max_turns": 0}, "max_turns: expected at least 1, found 0"),
        ({"rewards": "odd"}, "rewards: expected paper or verdict or sparse or a table, found 'odd'"),
        ({"rewards": {"correct": 1}}, "rewards: no reward for wrong_rule, wrong_value"),
        ({"lam": 1.5}, "lam: expected 0 to 1, found 1.5"),
        ({"max_steps": -1}, "max_steps: expected at least 1, found -1"),
        ({"num_iterations": 3, "save_steps": 4}, "save_steps, save_at: expected multiples of 3"),
        ({"num_iterations": 2, "save_at": [1]}, "save_steps, save_at: expected multiples of 2"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(InputError) as error:
        configured(PPOConfig, on_this_machine(ONE_ROLLOUT | {"output_dir": "x"} | settings))
    assert message in str(error.value)
