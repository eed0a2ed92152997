import math

import pytest
import torch
from scipy.special import rel_entr
from scipy.stats import entropy as scipy_entropy

from points24.harness.shift.measures import (
    brier,
    calibration_error,
    entropy,
    kl,
    token_nll,
    top_overlap,
)


def log_of(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


def test_a_vocabulary_of_two_tokens_by_hand():
    p, q = log_of([0.5, 0.5], [0.75, 0.25]), log_of([0.25, 0.75], [0.75, 0.25])
    assert token_nll(p, torch.tensor([0, 1])).tolist() == pytest.approx([math.log(2), math.log(4)], abs=1e-15)
    expected = [math.log(2), 0.75 * math.log(4 / 3) + 0.25 * math.log(4)]
    assert entropy(p).tolist() == pytest.approx(expected, abs=1e-15)
    # 1/2 log(2) + 1/2 log(2/3) and, the other way round, 1/4 log(1/2) + 3/4 log(3/2)
    assert kl(p, q).tolist() == pytest.approx([0.5 * math.log(4 / 3), 0], abs=1e-15)
    back = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert kl(q, p).tolist() == pytest.approx([back, 0], abs=1e-15)


def test_random_distributions_as_scipy_computes_them():
    torch.manual_seed(0)
    p, q = (torch.randn(20, 50, dtype=torch.float64).mul(3).log_softmax(1) for _ in range(2))
    assert entropy(p).numpy() == pytest.approx(scipy_entropy(p.exp().numpy(), axis=1), abs=1e-12)
    assert kl(p, q).numpy() == pytest.approx(rel_entr(p.exp().numpy(), q.exp().numpy()).sum(1), abs=1e-12)
    assert (kl(p, p) == 0).all()


def test_an_impossible_token_adds_nothing():
    p, q = log_of([1.0, 0.0]), log_of([0.5, 0.5])
    assert entropy(p).item() == 0
    assert kl(p, q).item() == pytest.approx(math.log(2))
    assert kl(q, p).item() == math.inf


def test_top_overlap_counts_shared_tokens():
    p = log_of([0.4, 0.3, 0.2, 0.06, 0.04])
    q = log_of([0.3, 0.04, 0.4, 0.2, 0.06])
    assert top_overlap(p, q, 2).tolist() == [0.5]  # {0, 1} and {2, 0}
    assert top_overlap(p, q, 3).tolist() == [pytest.approx(2 / 3)]  # {0, 1, 2} and {2, 0, 3}
    assert top_overlap(p, q, 9).tolist() == [1]


def test_the_brier_score_of_an_even_choice_is_a_quarter():
    found = brier(torch.tensor([0.0, math.log(3), -math.log(3)], dtype=torch.float64))
    assert found.tolist() == pytest.approx([1 / 4, 1 / 16, 9 / 16])


def test_calibration_by_hand():
    # Confidence 3/4 on four deals, of which three are right: no error. Then two are right: an error of 1/4.
    sure = math.log(3)
    for signs, expected in (([1, 1, 1, -1], 0.0), ([1, 1, -1, -1], 0.25), ([-1] * 4, 0.75)):
        preference = torch.tensor(signs, dtype=torch.float64) * sure
        assert calibration_error(preference) == pytest.approx(expected, abs=1e-12)
    # Two bins: certain and wrong on half of the deals, an even choice that is right on the other half.
    mixed = torch.tensor([-800.0, 1e-9], dtype=torch.float64)
    assert calibration_error(mixed) == pytest.approx((1 + 0.5) / 2)
