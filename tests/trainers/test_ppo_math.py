import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from points24.trainers.ppo_math import (
    Discounts,
    explained_variance,
    gae,
    kl_shaped,
    policy_loss,
    value_loss,
    whiten,
)

INF = math.inf
UNSET = 99.0  # what stands where the mask is false must not matter
GAMMA, LAM, TURN_GAMMA, TURN_LAM = 0.5, 0.5, 0.25, 0.8


def row(*numbers: float) -> Tensor:
    return torch.tensor([numbers], dtype=torch.float64)


def flags(text: str) -> Tensor:
    return torch.tensor([[sign == "1" for sign in line] for line in text.split()])


def gae_by_hand_case(rewards: Tensor, values: Tensor, mask: str, turn_ends: str) -> list:
    discounts = Discounts(GAMMA, LAM, TURN_GAMMA, TURN_LAM)
    return gae(rewards, values, flags(mask), flags(turn_ends), discounts).tolist()


# -- advantages ------------------------------------------------------------------------------------------


def test_gae_within_one_turn():
    # Token 1: 1 - 0.25 = 0.75. Token 0: 0 + 0.5 * 0.25 - 0.5 = -0.375, and 0.5 * 0.5 * 0.75 = 0.1875 more.
    assert gae_by_hand_case(row(0, 1), row(0.5, 0.25), "11", "01") == [[-0.1875, 0.75]]


def test_gae_across_two_turns_skips_the_message_and_discounts_as_between_turns():
    # Tokens a b | message | c d. From the end:
    #   d: 2 - 4 = -2
    #   c: 0 + 0.5 * 4 - 3 = -1; -1 + 0.5 * 0.5 * -2 = -1.5
    #   b: -1 + 0.25 * 3 - 2 = -2.25; -2.25 + 0.25 * 0.8 * -1.5 = -2.55
    #   a: 0 + 0.5 * 2 - 1 = 0; 0 + 0.5 * 0.5 * -2.55 = -0.6375
    rewards, values = row(0, -1, 0, 0, 2), row(1, 2, UNSET, 3, 4)
    assert gae_by_hand_case(rewards, values, "11011", "01001") == [
        pytest.approx([-0.6375, -2.55, 0, -1.5, -2])
    ]


def test_gae_of_a_padded_row_is_that_of_the_row_alone():
    alone = gae_by_hand_case(row(0, 1), row(0.5, 0.25), "11", "01")
    padded = gae_by_hand_case(row(0, 1, 0, 0), row(0.5, 0.25, UNSET, UNSET), "1100", "0100")
    assert padded == [alone[0] + [0, 0]]


def test_rows_of_different_length_do_not_touch_each_other():
    rewards = torch.cat([row(0, -1, 0, 0, 2), row(0, 1, 0, 0, 0)])
    values = torch.cat([row(1, 2, UNSET, 3, 4), row(0.5, 0.25, UNSET, UNSET, UNSET)])
    both = gae_by_hand_case(rewards, values, "11011 11000", "01001 01000")
    assert both == [
        pytest.approx([-0.6375, -2.55, 0, -1.5, -2]),
        [-0.1875, 0.75, 0, 0, 0],
    ]


class Rollout(NamedTuple):
    rewards: Tensor
    values: Tensor
    mask: Tensor
    turn_ends: Tensor

    def gae(self, discounts: Discounts) -> Tensor:
        return gae(self.rewards, self.values, self.mask, self.turn_ends, discounts)


numbers = st.floats(-5, 5, width=32)
shares = st.floats(0, 1)


@st.composite
def rollouts(draw: st.DrawFn, dtype: torch.dtype = torch.float64) -> Rollout:
    """Episodes of one to three turns, with messages of any length between turns, padded at the end."""
    episodes = []
    for _ in range(draw(st.integers(1, 3))):
        chosen, ends = [], []
        for turn in range(draw(st.integers(1, 3))):
            message, reply = draw(st.integers(0, 2)) if turn else 0, draw(st.integers(1, 4))
            chosen += [False] * message + [True] * reply
            ends += [False] * (message + reply - 1) + [True]
        episodes.append((chosen, ends))
    width = max(len(chosen) for chosen, _ in episodes) + draw(st.integers(0, 1))
    mask, turn_ends = (
        torch.tensor([marks + [False] * (width - len(marks)) for marks in column])
        for column in zip(*episodes, strict=True)
    )
    rewards, values = (
        torch.tensor(draw(st.lists(numbers, min_size=mask.numel(), max_size=mask.numel())), dtype=dtype)
        .view(mask.shape)
        .contiguous()
        for _ in range(2)
    )
    return Rollout(rewards * mask, values, mask, turn_ends)


@given(rollouts())
def test_without_discount_and_decay_the_advantage_is_the_return_less_the_value(rollout):
    advantages = rollout.gae(Discounts(1, 1, 1, 1))
    returns = rollout.rewards.flip(1).cumsum(1).flip(1)
    expected = (returns - rollout.values) * rollout.mask
    torch.testing.assert_close(advantages, expected, rtol=0, atol=1e-12)


def gae_by_equation_16(rollout: Rollout, discounts: Discounts) -> list[list[float]]:
    """The sum of all later temporal differences, each discounted and decayed once per step in between."""
    table = []
    for rewards, values, mask, turn_ends in zip(*(part.tolist() for part in rollout), strict=True):
        places = [place for place, chosen in enumerate(mask) if chosen]
        gammas = [discounts.turn_gamma if turn_ends[p] else discounts.gamma for p in places]
        lams = [discounts.turn_lam if turn_ends[p] else discounts.lam for p in places]
        v = [values[p] for p in places] + [0.0]
        deltas = [rewards[p] + gammas[i] * v[i + 1] - v[i] for i, p in enumerate(places)]
        advantages = [0.0] * len(mask)
        for i, place in enumerate(places):
            advantages[place] = math.fsum(
                math.prod(gammas[k] * lams[k] for k in range(i, later)) * deltas[later]
                for later in range(i, len(places))
            )
        table.append(advantages)
    return table


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
@settings(max_examples=60)
@given(data=st.data(), discounts=st.builds(Discounts, shares, shares, shares, shares))
def test_gae_is_the_sum_of_equation_16(dtype, tolerance, data, discounts):
    rollout = data.draw(rollouts(dtype))
    expected = torch.tensor(gae_by_equation_16(rollout, discounts), dtype=dtype)
    torch.testing.assert_close(rollout.gae(discounts), expected, rtol=0, atol=tolerance)


# -- the policy's loss -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped", "gradient"),
    [
        (1.5, 2.0, -2.4, 1, 0.0),  # better than before, and far enough: min(3, 1.2 * 2)
        (1.5, -2.0, 3.0, 0, 3.0),  # worse, yet more likely: pull back
        (0.5, 2.0, -1.0, 0, -1.0),  # better, yet less likely: pull back
        (0.5, -2.0, 1.6, 1, 0.0),  # worse, and far enough: min(-1, 0.8 * -2)
        (1.1, 2.0, -2.2, 0, -2.2),
        (0.9, -2.0, 1.8, 0, 1.8),
    ],
)
def test_the_clip_takes_the_gradient_where_the_ratio_went_the_way_of_the_advantage(
    ratio, advantage, loss, clipped, gradient
):
    # The gradient by the log-probability is -advantage * ratio, as d ratio / d log_prob = ratio.
    old = row(-1.0)
    new = (old + math.log(ratio)).requires_grad_()
    found = policy_loss(new, old, row(advantage), 0.2)
    found.loss.sum().backward()
    assert new.grad is not None
    assert found.loss.item() == pytest.approx(loss)
    assert found.clipped.item() == clipped
    assert found.log_ratio.item() == pytest.approx(math.log(ratio))
    assert new.grad.item() == pytest.approx(gradient)


@given(st.lists(st.tuples(st.floats(-8, 8), numbers), min_size=1, max_size=5))
def test_an_infinite_clip_never_clips(tokens):
    log_ratios, advantages = (row(*column) for column in zip(*tokens, strict=True))
    new = log_ratios.clone().requires_grad_()
    found = policy_loss(new, torch.zeros_like(new), advantages, INF)
    found.loss.sum().backward()
    assert new.grad is not None
    plain = -advantages * log_ratios.exp()
    assert not found.clipped.any()
    torch.testing.assert_close(found.loss.detach(), plain)
    torch.testing.assert_close(new.grad, plain)


def test_at_the_old_policy_the_gradient_is_the_plain_policy_gradient():
    # Two tokens out of three symbols. The gradient of the mean of -A log p(a) by the logits is
    # -A (onehot(a) - p) / 2: for p = (1/2, 1/4, 1/4), a = 0, A = 4: -2 (1/2, -1/4, -1/4) = (-1, 1/2, 1/2);
    # for p = (1/4, 1/4, 1/2), a = 2, A = -2: 1 (-1/4, -1/4, 1/2).
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]], dtype=torch.float64)
    logits = probabilities.log().requires_grad_()
    log_probs = logits.log_softmax(-1)[[0, 1], [0, 2]][None]
    policy_loss(log_probs, log_probs.detach(), row(4, -2), INF).loss.mean().backward()
    expected = torch.tensor([[-1, 0.5, 0.5], [-0.25, -0.25, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(logits.grad, expected)


# -- the critic's loss -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "target", "clip", "loss", "gradient"),
    [
        (3.0, 5.0, 0.5, 6.125, 0.0),  # held at 1.5: 3.5 * 3.5 / 2, worse than 2 * 2 / 2
        (3.0, 0.0, 0.5, 4.5, 3.0),  # held at 1.5: better than 3, so the value itself counts
        (-1.0, -2.0, 0.5, 3.125, 0.0),  # held at 0.5: 2.5 * 2.5 / 2, worse than 1 * 1 / 2
        (1.25, 3.25, 0.5, 2.0, -2.0),  # near enough to the old one
        (3.0, 5.0, INF, 2.0, -2.0),
        (-1.0, -2.0, INF, 0.5, 1.0),
    ],
)
def test_the_value_loss_is_of_the_worse_of_value_and_held_value(value, target, clip, loss, gradient):
    new = row(value).requires_grad_()
    found = value_loss(new, row(1.0), row(target), clip)
    found.sum().backward()
    assert new.grad is not None
    assert found.item() == loss
    assert new.grad.item() == gradient


# -- rewards, advantages and what is logged --------------------------------------------------------------


def test_the_divergence_is_taken_off_the_rewards_of_chosen_tokens():
    # 0 - 0.1 * (-1 + 1.5) = -0.05, 1 - 0.1 * (-2 + 1) = 1.1, and 0 for the message.
    shaped = kl_shaped(row(0, 1, 0), row(-1, -2, -7), row(-1.5, -1, -3), flags("110"), 0.1)
    assert shaped.tolist() == [pytest.approx([-0.05, 1.1, 0])]


def test_whitening_by_hand():
    # Mean 3 and variance (4 + 0 + 4) / 3 over 1, 3, 5.
    whitened = whiten(row(1, 3, UNSET, 5), flags("1101"))
    step = 2 / math.sqrt(8 / 3)
    assert whitened.tolist() == [pytest.approx([-step, 0, 0, step])]


@pytest.mark.parametrize(("mean", "spread"), [(0.0, 1.0), (5.0, 1e-3), (-300.0, 2.0)])
def test_whitened_advantages_have_mean_0_and_variance_1_over_the_mask(mean, spread):
    generator = torch.Generator().manual_seed(0)
    x = mean + spread * torch.randn(8, 500, generator=generator)
    mask = torch.rand(8, 500, generator=generator) < 0.6
    whitened = whiten(x, mask)
    assert whitened[mask].mean().item() == pytest.approx(0, abs=1e-2)
    assert whitened[mask].var(correction=0).item() == pytest.approx(1, abs=1e-3)
    assert not whitened[~mask].any()


@pytest.mark.parametrize("constant", [0.0, 0.1, 5.0, -3.0])
def test_a_constant_is_whitened_to_about_0(constant):
    mask = flags("1110" * 25)
    assert whiten(torch.full((1, 100), constant), mask).abs().max() < 0.01


def summing_over(processes: int):
    """A `total` for as many threads: each call adds up what all of them give in this round."""
    barrier = threading.Barrier(processes, timeout=30)
    given: dict[int, Tensor] = {}

    def total(sums: Tensor) -> Tensor:
        given[threading.get_ident()] = sums
        barrier.wait()
        added = sum(given.values(), torch.zeros_like(sums))
        barrier.wait()  # nobody starts the next round before all have read this one
        return added

    return total


def test_processes_that_add_up_their_sums_whiten_as_one():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(6, 7, generator=generator, dtype=torch.float64) + 2
    mask = torch.rand(6, 7, generator=generator) < 0.7
    total = summing_over(2)
    with ThreadPoolExecutor(2) as pool:  # the shares differ in size
        parts = pool.map(lambda rows: whiten(x[rows], mask[rows], total), (slice(0, 2), slice(2, 6)))
    torch.testing.assert_close(torch.cat(list(parts)), whiten(x, mask))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1, 3, UNSET, 5), 1.0),
        ((2, 4, UNSET, 6), 1.0),  # all off by the same: the variance does not see it
        ((3, 3, UNSET, 3), 0.0),
        ((2, 3, UNSET, 4), 0.75),  # errors -1, 0, 1: a quarter of the variance is left
        ((5, 3, UNSET, 1), -3.0),  # errors -4, 0, 4: four times the variance
    ],
)
def test_explained_variance_by_hand(values, expected):
    found = explained_variance(row(*values), row(1, 3, -UNSET, 5), flags("1101"))
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("values", [(2, 2), (1, 3)])
def test_where_all_returns_are_equal_there_is_no_variance_to_explain(values):
    assert math.isnan(explained_variance(row(*values), row(2, 2), flags("11")).item())
