import numpy as np
import pytest
import torch

from points24.harness.shift.geometry import covariance, linear_cka, plane


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def hsic_cka(x: np.ndarray, y: np.ndarray) -> float:
    """CKA by its definition: HSIC with linear kernels, centred by H = I − 1/n."""
    h = np.eye(len(x)) - 1 / len(x)
    k, m = h @ x @ x.T @ h, h @ y @ y.T @ h
    return float(np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m)))


@pytest.mark.parametrize(("deals", "width", "other"), [(30, 4, 6), (5, 12, 7), (2, 2, 2)])
def test_cka_is_that_of_its_definition_on_either_path(deals, width, other):
    x, y = random(deals, width), random(deals, other)
    assert linear_cka(x, y) == pytest.approx(hsic_cka(x.numpy(), y.numpy()), abs=1e-12)


def test_cka_sees_no_rotation_scale_or_offset():
    x = random(40, 6)
    rotation = torch.linalg.qr(random(6, 6))[0]
    assert linear_cka(x, x) == pytest.approx(1, abs=1e-12)
    assert linear_cka(x, 3 * x @ rotation + 5) == pytest.approx(1, abs=1e-12)


def test_one_state_for_all_deals_has_no_cka():
    assert linear_cka(torch.ones(5, 3) / 3, random(5, 3)) is None


def test_the_plane_puts_the_base_at_0_and_1():
    of_id = torch.tensor([[0.0, -1, 0], [0, 1, 0]])
    of_ood = torch.tensor([[4.0, -3, 0], [4, 3, 0]])
    found = plane(of_id, of_ood)
    assert found is not None
    assert found.of(of_id).mean(0).tolist() == pytest.approx([0, 0])
    assert found.of(of_ood).mean(0).tolist() == pytest.approx([1, 0])
    # A unit is the distance of the centroids, 4; the second axis is the one with variance.
    assert found.of(torch.tensor([[4.0, 2, 9]])).tolist() == [pytest.approx([1, 0.5])]
    assert covariance(found.of(of_ood)) == pytest.approx((0, 0, 9 / 16))


def test_the_plane_is_the_same_for_few_deals_in_many_dimensions():
    of_id, of_ood = random(6, 5), random(7, 5) + 1
    wide = [torch.cat([each, torch.zeros(len(each), 40)], 1) for each in (of_id, of_ood)]
    few, many = plane(of_id, of_ood), plane(*wide)
    assert few is not None
    assert many is not None
    assert many.of(wide[1]).numpy() == pytest.approx(few.of(of_ood).numpy(), abs=1e-9)


def test_equal_centroids_have_no_axis():
    assert plane(torch.eye(2), torch.eye(2).flip(0)) is None
