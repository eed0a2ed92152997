import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from points24.harness.drift.angles import angle_of_chord, cosines_by_tenth, principal_angles


def basis(generator, n, k):
    return torch.linalg.qr(torch.randn(n, k, generator=generator, dtype=torch.float64))[0]


@given(st.integers(0, 2**31), st.integers(1, 12), st.sampled_from([1e-12, 1e-8, 1e-4, 1e-2, 1.0, 1e3]))
def test_angles_agree_with_scipy(seed, k, size):
    generator = torch.Generator().manual_seed(seed)
    x = basis(generator, 30, k)
    y = torch.linalg.qr(x + size * torch.randn(30, k, generator=generator, dtype=torch.float64))[0]
    expected = scipy.linalg.subspace_angles(x.numpy(), y.numpy())
    assert np.abs(principal_angles(x, y).numpy() - expected).max() < 1e-7


@pytest.mark.parametrize("size", [1e-5, 1e-3, 0.1])
def test_in_fp32_small_angles_keep_their_digits(size):
    generator = torch.Generator().manual_seed(0)
    x = basis(generator, 200, 20)
    y = torch.linalg.qr(x + size * torch.randn(200, 20, generator=generator, dtype=torch.float64))[0]
    expected = scipy.linalg.subspace_angles(x.numpy(), y.numpy())
    found = principal_angles(x.float(), y.float()).numpy()
    assert np.abs(found - expected).max() < 1e-3 * expected.max() + 1e-6


def test_the_angle_of_two_lines_in_the_plane():
    for apart in (0.0, 1e-9, 0.3, math.pi / 2, math.pi - 0.3):
        x, y = (torch.tensor([[math.cos(a)], [math.sin(a)]], dtype=torch.float64) for a in (0.2, 0.2 + apart))
        expected = min(apart, math.pi - apart)
        assert principal_angles(x, y).item() == pytest.approx(expected, abs=1e-7)
        assert angle_of_chord(torch.linalg.vector_norm(x - y)).item() == pytest.approx(expected, abs=1e-15)


def test_cosines_by_tenth_leave_out_what_is_not_known():
    angles = torch.tensor([0.0, math.nan, math.pi / 3] + [math.nan] * 3 + [0.0] * 14, dtype=torch.float64)
    assert cosines_by_tenth(angles) == pytest.approx([1.0, 0.5, 1.0, *[1.0] * 7])
