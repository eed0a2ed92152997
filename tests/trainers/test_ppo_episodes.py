"""PPO without training: what is played, how it becomes a batch, and the loss of a batch."""

import json
import math
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from points24.harness.checkpoints.shipped import model_folder
from points24.tasks.cards import RULES, Deal
from points24.tasks.prompts import json_reply, template
from points24.tasks.protocols.protocol import read_protocol
from points24.tasks.rewards.tables import rewards
from points24.tasks.verdict import Verdict
from points24.trainers.deals import prompt_row
from points24.trainers.episodes import Episode
from points24.trainers.ppo import PPOTrainer
from points24.trainers.turns import message_tokens

DEAL = Deal(("K", "5", "A", "2"), RULES["ood"])
RIGHT, MISS = json_reply(DEAL, "13+5*2+1"), json_reply(DEAL, "13+5*2-1")
CUT_OFF = RIGHT[:-8]


@pytest.fixture(scope="module")
def nano():
    return AutoTokenizer.from_pretrained(model_folder("nano-base"))


def chat(*contents: str) -> list[dict[str, str]]:
    return [
        {"role": "assistant" if place % 2 else "user", "content": content}
        for place, content in enumerate(contents)
    ]


def rendered(tokenizer: Any, *contents: str, **kwargs: Any) -> list[int]:
    """The chat template's tokens for user, assistant, user, …, ready for the next reply."""
    return tokenizer.apply_chat_template(
        chat(*contents), add_generation_prompt=True, tokenize=True, return_dict=False, **kwargs
    )


def tokens_of(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False).input_ids


# -- from one reply to the next --------------------------------------------------------------------------

TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
NEXT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
THOUGHT = "<think>\n\n</think>\n\n"
TEMPLATES = {
    "turns": "{% for m in messages %}" + TURN + "{% endfor %}" + NEXT,
    # As some models that think: the last turn alone shows that there was no thought.
    "last reply differs": (
        "{% for m in messages %}"
        "{% if loop.last and m.role == 'assistant' %}<|im_start|>assistant\n" + THOUGHT + "{{ m.content }}"
        "<|im_end|>\n{% else %}" + TURN + "{% endif %}{% endfor %}" + NEXT
    ),
    "system first": "<|im_start|>system\nPlay.<|im_end|>\n{% for m in messages %}" + TURN + "{% endfor %}" + NEXT,
    "nothing after a turn": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}" + NEXT
    ),
    "closed thought": (
        "{% for m in messages %}" + TURN + "{% endfor %}" + NEXT
        + "{% if thoughts is defined %}" + THOUGHT + "{% endif %}"
    ),
}  # fmt: skip


def chatty(chat_template: str) -> Any:
    """A tokenizer of single characters with a chat model's special tokens."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    characters = [chr(code) for code in range(32, 127)] + ["\n"]
    vocabulary = {token: place for place, token in enumerate([*special, *characters])}
    characterwise = Tokenizer(models.BPE(vocabulary, []))
    characterwise.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=characterwise,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=["<|im_start|>"],
        chat_template=chat_template,
    )


def test_nanos_episode_is_the_whole_conversation(nano):
    question = template().render(DEAL)
    for reply in (MISS, CUT_OFF, json_reply(DEAL, "10*2+5-1"), json_reply(DEAL, "(13"), "no formula"):
        text = read_protocol("points24").verify(DEAL, reply).message or ""
        played = rendered(nano, question) + tokens_of(nano, reply) + [nano.eos_token_id]
        message = message_tokens(nano, [nano.eos_token_id], played, text)
        assert played + message == rendered(nano, question, reply, text)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("is_cut_off", [False, True])
def test_an_episode_is_the_whole_conversation_as_the_chat_template_writes_it(name, is_cut_off):
    tokenizer = chatty(TEMPLATES[name])
    end = tokenizer.eos_token_id
    reply = tokens_of(tokenizer, "7*7") + ([] if is_cut_off else [end])
    message = message_tokens(tokenizer, [end], reply, "No: 49.")
    assert rendered(tokenizer, "Q?") + reply + message == rendered(tokenizer, "Q?", "7*7", "No: 49.")
    assert (message[0] == end) is is_cut_off


def test_the_line_break_after_the_end_of_turn_is_not_lost():
    tokenizer = chatty(TEMPLATES["turns"])
    reply = [*tokens_of(tokenizer, "7*7"), tokenizer.eos_token_id]
    message = message_tokens(tokenizer, [tokenizer.eos_token_id], reply, "No.")
    assert tokenizer.decode(message) == "\n<|im_start|>user\nNo.<|im_end|>\n<|im_start|>assistant\n"


def test_a_reply_that_ends_by_another_end_token_is_not_ended_twice():
    tokenizer = chatty(TEMPLATES["turns"])
    ends = [tokenizer.pad_token_id, tokenizer.eos_token_id]
    message = message_tokens(tokenizer, ends, [7, tokenizer.pad_token_id], "No.")
    assert tokenizer.decode(message).startswith("\n<|im_start|>user")


def test_a_template_that_ends_no_turn_keeps_what_stands_between():
    tokenizer = chatty(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    message = message_tokens(tokenizer, [tokenizer.eos_token_id], [7], "No.")
    assert tokenizer.decode(message) == "\nuser: No.\nassistant:"


def test_variables_of_the_template_are_passed_on():
    tokenizer = chatty(TEMPLATES["closed thought"])
    reply = [*tokens_of(tokenizer, "7*7"), tokenizer.eos_token_id]
    message = message_tokens(tokenizer, [tokenizer.eos_token_id], reply, "No.", thoughts=False)
    assert tokenizer.decode(message).endswith("<|im_start|>assistant\n" + THOUGHT)
    assert message != message_tokens(tokenizer, [tokenizer.eos_token_id], reply, "No.")


# -- one episode -----------------------------------------------------------------------------------------


def test_an_episode_knows_who_wrote_each_token_and_where_replies_end():
    episode = Episode(DEAL, prompt=[1, 2])
    episode.add_reply([3, 4], [-0.5, -0.25], Verdict.WRONG_VALUE, -1)
    episode.add_message([5, 6, 7])
    episode.add_reply([8], [-0.125], Verdict.CORRECT, 5)
    assert episode.tokens == [3, 4, 5, 6, 7, 8]
    assert episode.chosen == [1, 1, 0, 0, 0, 1]
    assert episode.turn_ends == [1, 5]
    assert episode.log_probs == [-0.5, -0.25, 0, 0, 0, -0.125]
    assert episode.verdicts == [Verdict.WRONG_VALUE, Verdict.CORRECT]
    assert episode.rewards == [-1, 5]


def test_without_the_samplers_log_probs_an_episode_has_none():
    episode = Episode(DEAL, prompt=[1, 2])
    episode.add_reply([3, 4], None, Verdict.WRONG_VALUE, 0)
    episode.add_message([5])
    episode.add_reply([6], None, Verdict.ILLEGAL, 0)
    assert (episode.log_probs, episode.turn_ends) == ([], [1, 3])


# -- a rollout -------------------------------------------------------------------------------------------


class Scripted(PPOTrainer):
    """A trainer without a model: replies, log-probabilities and values are given."""

    def __init__(
        self, tokenizer: Any, script: list[list[str]], *, sampled: float | None = None,
        protocol: str = "points24", pays: str = "verdict", **settings: Any,
    ):  # fmt: skip
        """`script` has the replies of each turn, with ``</s>`` where they end of themselves."""
        defaults = {
            "max_turns": 2, "gamma": 1.0, "lam": 1.0, "turn_gamma": 0.5, "turn_lam": 1.0,
            "beta": 0.0, "whiten": False, "per_device_train_batch_size": 8,
            "vllm_importance_sampling_clip_max": 3.0,
            "epsilon": 0.2, "vf_clip": math.inf, "vf_coef": 0.5, "entropy_coef": 0.0,
            "steps_per_generation": 1,
        }  # fmt: skip
        self.args = SimpleNamespace(**defaults | settings)  # pyright: ignore[reportAttributeAccessIssue]  a stand-in
        self.accelerator = SimpleNamespace(device=torch.device("cpu"), num_processes=1, reduce=lambda x, _: x)
        self.model = SimpleNamespace(training=True)
        self.processing_class = self._tokenizer = tokenizer
        self.eos_token_ids = [tokenizer.eos_token_id]
        self.chat_template_kwargs = {}
        self.rule, self.protocol, self.reward = DEAL.rule, read_protocol(protocol), rewards(pays)
        self._metrics = {"train": defaultdict(list)}
        self._values = None
        self.current_gradient_accumulation_steps = 1
        self.script, self.sampled = script, sampled
        self.asked: list[list[list[int]]] = []
        """The prompts of each turn."""

    def _tokenize_prompts(self, prompts: list) -> Any:
        return [rendered(self._tokenizer, prompt[0]["content"]) for prompt in prompts], None, {}

    def _generate_single_turn(self, prompt_ids: list, *args: Any, **kwargs: Any) -> Any:
        replies = [tokens_of(self._tokenizer, text) for text in self.script[len(self.asked)]]
        assert len(replies) == len(prompt_ids)
        self.asked.append(prompt_ids)
        return replies, self.sampled and [[self.sampled] * len(reply) for reply in replies]

    def note(self, name: str) -> float:
        (value,) = self._metrics["train"][name]
        return value


def rows(n: int) -> list[dict[str, Any]]:
    return [prompt_row(DEAL, template(), chat=True) | {"cards": list(DEAL.cards)} for _ in range(n)]


# Two attempts at three deals: right in the second, right at once, never right (and cut off both times).
SCRIPT = [[MISS + "</s>", RIGHT + "</s>", CUT_OFF], [RIGHT + "</s>", CUT_OFF]]
NO_ANSWER = "Your formula is not correct: no formula found. Reply again in the same form.\nReply:"
MISSED = "Your formula is not correct: it equals 22, not 24. Reply again in the same form.\nReply:"


def test_whoever_is_not_right_is_told_why_and_tries_again(nano):
    trainer = Scripted(nano, SCRIPT)
    won_late, won_at_once, lost = trainer._play(rows(3))
    question = template().render(DEAL)
    assert nano.decode(won_late.tokens) == f"{MISS}</s>{MISSED}{RIGHT}</s>"
    assert nano.decode(won_at_once.tokens) == f"{RIGHT}</s>"
    assert nano.decode(lost.tokens) == f"{CUT_OFF}</s>{NO_ANSWER}{CUT_OFF}"
    assert [[verdict.value for verdict in e.verdicts] for e in (won_late, won_at_once, lost)] == [
        ["wrong_value", "correct"], ["correct"], ["no_answer", "no_answer"],
    ]  # fmt: skip
    assert trainer.asked == [
        [rendered(nano, question)] * 3,
        [rendered(nano, question, MISS, MISSED), rendered(nano, question, CUT_OFF, NO_ANSWER)],
    ]


def test_only_the_replies_are_chosen_and_the_end_that_a_cut_off_reply_lacks_is_not(nano):
    won_late, _, lost = Scripted(nano, SCRIPT)._play(rows(3))
    for episode, replies in ((won_late, [f"{MISS}</s>", f"{RIGHT}</s>"]), (lost, [CUT_OFF, CUT_OFF])):
        sizes = [len(tokens_of(nano, reply)) for reply in replies]
        between = len(episode.tokens) - sum(sizes)
        assert episode.chosen == [1] * sizes[0] + [0] * between + [1] * sizes[1]
        assert episode.turn_ends == [sizes[0] - 1, len(episode.tokens) - 1]


def test_nobody_is_asked_again_once_all_are_right(nano):
    trainer = Scripted(nano, [[RIGHT + "</s>"] * 2], max_turns=5)
    assert [episode.verdicts for episode in trainer._play(rows(2))] == [[Verdict.CORRECT]] * 2
    assert len(trainer.asked) == 1


def scored(trainer: Scripted, value: float = 1.0, log_prob: float = -0.5) -> dict[str, Tensor]:
    """The batch of three deals, under a model that gives every token this value and log-probability."""

    def forward(model: Any, batch: dict[str, Tensor], chunk: int | None) -> tuple[Tensor, Tensor, Tensor]:
        shape = batch["completion_ids"].shape
        return torch.full(shape, log_prob), torch.zeros(shape), torch.full(shape, value)

    trainer._forward = forward
    return trainer._generate_and_score_completions(rows(3))


def test_returns_and_advantages_of_a_rollout_by_hand(nano):
    # Rewards by verdict: correct 5, wrong value -1, no answer -3; the later turn counts half, and with
    # lambda 1 an advantage is the return less the value, which is 1 throughout.
    batch = scored(Scripted(nano, SCRIPT))
    by_turn = [(-1 + 0.5 * 5, 5), (5,), (-3 + 0.5 * -3, -3)]
    for row, (episode, returns) in enumerate(
        zip(Scripted(nano, SCRIPT)._play(rows(3)), by_turn, strict=True)
    ):
        expected = torch.zeros(batch["mask"].shape[1])
        for turn, earned in enumerate(returns):
            start = 0 if turn == 0 else episode.chosen.index(1, episode.chosen.index(0))
            expected[start : episode.turn_ends[turn] + 1] = earned
        torch.testing.assert_close(batch["returns"][row], expected)
        torch.testing.assert_close(batch["advantages"][row], expected - (expected != 0).float())
        assert batch["mask"][row].int().tolist() == episode.chosen + [0] * (
            batch["mask"].shape[1] - len(episode.tokens)
        )
        assert batch["completion_mask"][row].sum() == len(episode.tokens)
        assert batch["prompt_ids"][row][batch["prompt_mask"][row].bool()].tolist() == episode.prompt
    assert batch["num_items_in_batch"] == batch["mask"].sum()
    assert "correction" not in batch


def test_under_the_papers_protocol_penalties_add_up_and_its_verifier_speaks(nano):
    def reply(formula: str) -> str:
        return "{\n  \"cards\": ['K', '5', 'A', '2'],\n  \"formula\": \"" + formula + '",\n}'

    # 10 is not on the cards (-2) and the 13 is unused (-2); then the first numbers of a solution, but not the
    # second (-1); then a solution, with the paper's "=24" (+5).
    script = [[reply(formula) + "</s>"] for formula in ("10*2+5-1", "13+5*2-1", "13+5*2+1=24")]
    trainer = Scripted(nano, script, max_turns=5, protocol="paper", pays="paper")
    (episode,) = trainer._play(rows(1))
    assert episode.rewards == [-4, -1, 5]
    assert [verdict.value for verdict in episode.verdicts] == ["wrong_rule", "wrong_value", "correct"]
    told = nano.decode([t for t, chosen in zip(episode.tokens, episode.chosen, strict=True) if not chosen])
    asked = read_protocol("paper")
    assert told == "".join(asked.verify(DEAL, reply(f)).message or "" for f in ("10*2+5-1", "13+5*2-1"))


def test_a_rollout_is_logged_by_episode(nano):
    trainer = Scripted(nano, SCRIPT)
    batch = scored(trainer)
    assert trainer.note("reward") == pytest.approx((4 + 5 - 6) / 3)
    assert trainer.note("turns") == pytest.approx(5 / 3)
    assert trainer.note("reply_tokens") == pytest.approx(batch["mask"].sum().item() / 3)
    assert trainer.note("verdict/correct") == pytest.approx(2 / 3)
    assert trainer.note("verdict/no_answer") == pytest.approx(1 / 3)
    assert trainer.note("verdict/wrong_value") == 0
    json.dumps(trainer._metrics["train"], allow_nan=False)


def test_advantages_are_whitened_over_the_chosen_tokens(nano):
    batch = scored(Scripted(nano, SCRIPT, whiten=True))
    chosen = batch["advantages"][batch["mask"]]
    assert chosen.mean().item() == pytest.approx(0, abs=1e-6)
    assert chosen.var(correction=0).item() == pytest.approx(1)
    assert not batch["advantages"][~batch["mask"]].any()


def test_the_divergence_from_the_reference_is_taken_off_every_chosen_token(nano):
    trainer = Scripted(nano, [[RIGHT + "</s>"] * 3], max_turns=1, beta=0.1)
    trainer._reference_log_probs = lambda batch: torch.full(batch["completion_ids"].shape, -1.5)
    batch = scored(trainer, log_prob=-0.5)  # each token costs 0.1 * (-0.5 + 1.5), and the last earns 5
    n = batch["mask"].shape[1]
    torch.testing.assert_close(batch["returns"][0], 5 - 0.1 * torch.arange(n, 0, -1))
    assert trainer.note("kl") == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("sampled", "expected"), [(-0.75, math.exp(0.25)), (-0.25, math.exp(-0.25)), (-5.0, 3.0)]
)
def test_a_sampler_that_is_not_quite_the_model_is_corrected_up_to_a_bound(nano, sampled, expected):
    batch = scored(Scripted(nano, SCRIPT, sampled=sampled))
    corrections = batch["correction"][batch["mask"]]
    torch.testing.assert_close(corrections, torch.full_like(corrections, expected))


# -- the loss of a batch ---------------------------------------------------------------------------------


def test_values_are_of_the_state_before_each_token_and_messages_have_ratio_1(nano):
    trainer = Scripted(nano, SCRIPT)
    everything = torch.tensor([[10.0, 11, 12, 13, 14]])  # two tokens of the prompt, three of the episode

    def logps(model: Any, batch: Any, chunk: Any, compute_entropy: bool = False) -> Any:
        assert trainer._values is not None
        trainer._values.append(everything)
        return torch.tensor([[-1.0, -400.0, -2.0]]), torch.zeros(1, 3), None

    trainer._logps = logps
    batch = {"completion_ids": torch.zeros(1, 3), "mask": torch.tensor([[True, False, True]])}
    log_probs, _, values = trainer._forward(None, batch, None)
    assert values.tolist() == [[11, 12, 13]]
    assert log_probs.tolist() == [[-1, 0, -2]]
    assert trainer._values is None


def batch_of(mask: Tensor, given: Callable[[], Tensor]) -> dict[str, Tensor]:
    """A batch whose forward pass is given with it."""
    names = ("log_probs", "entropy", "values", "old_log_probs", "old_values", "returns", "advantages")
    return {name: given() for name in names} | {"mask": mask, "num_items_in_batch": mask.sum()}


def loss(trainer: Scripted, batch: dict[str, Tensor]) -> Tensor:
    trainer._forward = lambda model, batch, chunk: (batch["log_probs"], batch["entropy"], batch["values"])
    return trainer._compute_loss(trainer.model, batch)


def test_the_loss_is_the_mean_over_chosen_tokens_by_hand(nano):
    # Policy: -(2 - 1) / 2 = -0.5. Value: 0.5 * (1 + 9) / 2 = 2.5, times 0.5. Entropy: 0.3, times 0.1.
    batch = batch_of(torch.tensor([[True, False, True]]), lambda: torch.tensor([[-1.0, 50.0, -1.0]]))
    batch |= {
        "advantages": torch.tensor([[2.0, 0, -1]]),
        "values": torch.tensor([[1.0, 7, 2]]),
        "old_values": torch.tensor([[1.0, 0, 2]]),
        "returns": torch.tensor([[2.0, 0, 5]]),
        "entropy": torch.tensor([[0.2, 9, 0.4]]),
    }
    trainer = Scripted(nano, SCRIPT, entropy_coef=0.1)
    assert loss(trainer, batch).item() == pytest.approx(-0.5 + 1.25 - 0.03)
    names = ("policy_loss", "value_loss", "entropy", "clip_fraction", "approx_kl")
    assert [trainer.note(name) for name in names] == pytest.approx([-0.5, 2.5, 0.3, 0, 0])


def test_the_loss_does_not_depend_on_how_a_rollout_is_split_into_micro_batches(nano):
    generator = torch.Generator().manual_seed(0)
    mask = torch.tensor([[True] * 5, [True] + [False] * 4, [True, True, False, True, False], [True] * 5])
    batch = batch_of(mask, lambda: torch.randn(4, 5, generator=generator))
    whole = loss(Scripted(nano, SCRIPT), batch)
    trainer = Scripted(nano, SCRIPT, steps_per_generation=4)
    trainer.current_gradient_accumulation_steps = 4
    parts = [
        loss(trainer, {name: x[row : row + 1] if x.ndim else x for name, x in batch.items()})
        for row in range(4)
    ]
    torch.testing.assert_close(sum(parts), whole)
    trainer.model.training = False
    assert loss(trainer, batch).item() == pytest.approx(4 * whole.item())


def test_a_correction_weighs_the_policys_loss_alone(nano):
    mask = torch.ones(1, 2, dtype=torch.bool)
    batch = batch_of(mask, lambda: torch.tensor([[-1.0, -1.0]]))
    batch |= {"advantages": torch.tensor([[2.0, -4.0]]), "correction": torch.tensor([[0.5, 2.0]])}
    # -(0.5 * 2 - 2 * 4) / 2; values are at their targets
    assert loss(Scripted(nano, SCRIPT), batch).item() == pytest.approx(3.5)
