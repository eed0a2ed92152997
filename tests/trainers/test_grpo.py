"""GRPO and RLOO by TRL: rows and rewards are ours, and they learn; PPO learns the same toy."""

from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from points24.harness.config import configured
from points24.tasks.cards import Deal, parse_rule
from points24.tasks.errors import InputError
from points24.tasks.verdict import Verdict, judge_reply
from points24.trainers import grpo, ppo, rloo
from points24.trainers.ppo_config import PPOConfig
from points24.trainers.run.models import load_model, load_tokenizer
from points24.trainers.run.run import on_this_machine
from tests.trainers.conftest import SETTINGS

CONFIGS = {"grpo": grpo.GRPOConfig, "rloo": rloo.RLOOConfig, "ppo": PPOConfig}
BUILD = {"grpo": grpo.build_trainer, "rloo": rloo.build_trainer, "ppo": ppo.build_trainer}


def config_of(name, tmp_path, **settings):
    return configured(
        CONFIGS[name], on_this_machine(SETTINGS[name] | {"output_dir": str(tmp_path)} | settings)
    )


@pytest.mark.parametrize("name", ["grpo", "rloo"])
def test_replies_earn_what_their_verdicts_are_worth_under_the_protocols_own_filter(name, tmp_path):
    config = config_of(name, tmp_path, rewards="verdict")
    trainer = BUILD[name](config, load_model(config), load_tokenizer(config.parent, chat=False), [])
    row = trainer.train_dataset[0]
    deal = Deal(tuple(row["cards"]), parse_rule(row["rule"]), row["target"])
    replies = [config.asked.reply(deal, "1+2"), "24", config.asked.reply(deal, "7*(")]
    verdicts = [judge_reply(deal, reply).verdict for reply in replies]
    assert verdicts == [Verdict.WRONG_NUMBERS, Verdict.NO_ANSWER, Verdict.ILLEGAL]
    columns = {key: [row[key]] * 3 for key in ("cards", "rule", "target")}
    assert trainer.reward_funcs[0](prompts=[""] * 3, completions=replies, **columns) == [-2, -3, -3]


def toy():
    """A model of one layer with a vocabulary of four: padding, end, and two words."""
    words = Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "left": 2, "right": 3}, unk_token="left"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", padding_side="left"
    )
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=4, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1,
        pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return LlamaForCausalLM(shape), tokenizer


def share_of_right(model, tokenizer, prompt):
    ids = tokenizer([prompt], return_tensors="pt").input_ids
    with torch.no_grad():
        return model(input_ids=ids).logits[0, -1].softmax(-1)[3].item()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_word_that_is_paid_becomes_the_only_one(name, tmp_path):
    model, tokenizer = toy()
    config = config_of(
        name, tmp_path, max_completion_length=1, learning_rate=0.02, max_steps=40, save_steps=40,
        per_device_train_batch_size=16, lr_scheduler_type="constant", logging_steps=40, beta=0.0,
    )  # fmt: skip
    trainer = BUILD[name](config, model, tokenizer, [])
    if name == "ppo":
        judged = SimpleNamespace
        trainer.protocol = judged(
            verify=lambda _, text: judged(judgement=judged(verdict=Verdict.CORRECT, text=text), message=None)
        )
        trainer.reward = lambda _, judgement: float(judgement.text == "right")
    else:
        trainer.reward_funcs = [lambda completions, **_: [float(text == "right") for text in completions]]
    before = share_of_right(model, tokenizer, trainer.train_dataset[0]["prompt"])
    trainer.train()
    assert before < 0.4
    assert share_of_right(model, tokenizer, trainer.train_dataset[0]["prompt"]) > 0.95


@pytest.mark.parametrize("name", ["grpo", "rloo"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rewards": "gold"}, "rewards: expected paper or verdict or sparse or a table, found 'gold'"),
        ({"num_iterations": 2, "save_steps": 3}, "save_steps, save_at: expected multiples of 4, the steps per rollout"),
        ({"num_generations": 3}, "generation_batch_size"),
        ({"max_steps": 0}, "max_steps: expected at least 1, found 0"),
    ],
)  # fmt: skip
def test_bad_settings_are_named(name, tmp_path, settings, message):
    with pytest.raises(InputError) as error:
        config_of(name, tmp_path, **settings)
    assert message in str(error.value)
