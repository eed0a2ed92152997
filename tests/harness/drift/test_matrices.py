"""How two matrices differ, beside numpy's full SVDs."""

import ctypes
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch

from points24.harness.drift import matrices
from points24.harness.drift.matrices import First, rounding_neighbour
from points24.harness.drift.ranks import Ranks
from tests.benchmarks.table import memory

SHAPES = [(60, 40), (40, 60), (40, 40)]


def pair(shape, size=0.1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(shape, generator=generator, dtype=torch.float64)
    return a, a + size * torch.randn(shape, generator=generator, dtype=torch.float64)


def vectors(matrix):
    """Left and right singular vectors as columns, and the values, by numpy."""
    u, s, vh = np.linalg.svd(matrix.double().numpy(), full_matrices=False)
    return {"left": u, "right": vh.T}, s


def between(x, y):
    """Angles between lines along columns, in degrees."""
    return np.rad2deg(np.arccos(np.minimum(np.abs((x * y).sum(0)), 1)))


@pytest.mark.parametrize("shape", SHAPES)
def test_both_sides_are_reported_under_their_own_names(shape):
    a, b = pair(shape)
    (ours, s), (theirs, t) = vectors(a), vectors(b)
    facts, curves = First.of(a).to(b)
    assert facts["values"] == pytest.approx(np.linalg.norm(t - s) / np.linalg.norm(s))
    assert facts["change"] == pytest.approx(torch.dist(a, b) / torch.linalg.norm(a))
    assert curves["ratio"] == pytest.approx(t / s, rel=1e-4)
    assert curves["ranks"] == tuple(range(40))
    for side, alignment in (("left", "alignment_left"), ("right", "alignment")):
        x, y = ours[side], theirs[side]
        angles = between(x, y)
        assert facts[alignment] == pytest.approx(np.abs((x * y).sum(0)).reshape(10, 4).mean(1), abs=1e-9)
        assert curves[side] == pytest.approx(angles, rel=1e-4)
        parts = {"head": slice(0, 4), "bulk": slice(4, 36), "tail": slice(36, 40)}
        assert facts["vectors"][side] == pytest.approx({n: angles[p].mean() for n, p in parts.items()})
        for end in ("head", "tail"):
            expected = np.rad2deg(scipy.linalg.subspace_angles(x[:, parts[end]], y[:, parts[end]]))
            found = facts["subspaces"][side][end]
            assert found == pytest.approx({"k": 4, "mean": expected.mean(), "max": expected.max()}, abs=1e-5)
            assert curves[f"{end}_{side}"] == pytest.approx(expected[::-1], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("shape", [(300, 500), (500, 300)])
def test_a_large_matrix_is_sampled_and_agrees_to_its_precision(shape):
    a, b = (m.bfloat16() for m in pair(shape, size=0.01))
    (ours, _), (theirs, _) = vectors(a), vectors(b)
    facts, curves = First.of(a).to(b)
    ranks = list(curves["ranks"])
    assert ranks[0] == 0
    assert ranks[-1] == 299
    assert len(ranks) == 30 + 32 + 30
    for side in ("left", "right"):
        x, y = ours[side], theirs[side]
        assert curves[side] == pytest.approx(between(x, y)[ranks], rel=1e-3, abs=1e-3)
        expected = np.rad2deg(scipy.linalg.subspace_angles(x[:, :30], y[:, :30]))
        assert facts["subspaces"][side]["head"]["mean"] == pytest.approx(expected.mean(), rel=1e-3)
    for side, alignment in (("left", "alignment_left"), ("right", "alignment")):
        exact = np.abs((ours[side] * theirs[side]).sum(0)).reshape(10, 30).mean(1)
        assert facts[alignment] == pytest.approx(exact, abs=0.15)
        assert [facts[alignment][i] for i in (0, 9)] == pytest.approx([exact[0], exact[9]], abs=1e-4)


def test_the_first_matrix_is_factorised_once(monkeypatch):
    kept, asked = matrices.factorise, []
    monkeypatch.setattr(matrices, "factorise", lambda m: asked.append(m) or kept(m))
    a, b = pair((12, 8))
    start = First.of(a)
    for other in (b, b + 1, b + 2):
        start.to(other)
    assert len(asked) == 4
    start.to(a.clone())  # what has not moved is not factorised at all
    assert len(asked) == 4


def test_what_has_not_moved_shows_no_drift():
    a, _ = pair((30, 20))
    facts, curves = First.of(a.bfloat16()).to(a.bfloat16())
    assert (facts["values"], facts["change"], facts["unchanged"], facts["energy"]) == (0, 0, 1, None)
    assert facts["alignment"] == facts["alignment_left"] == [1.0] * 10
    assert set(curves["ratio"]) == {1.0}
    assert max(*curves["left"], *curves["right"], *curves["head_left"]) < 1e-5


def test_a_pure_rescaling_moves_values_and_no_direction():
    a = torch.diag(torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])).double()
    facts, curves = First.of(a).to(1.5 * a)
    assert facts["values"] == facts["change"] == pytest.approx(0.5)
    assert curves["ratio"] == (1.5,) * 5
    assert facts["alignment"] == facts["alignment_left"] == pytest.approx([1.0] * 5)


def test_a_rotation_of_the_input_turns_right_vectors_alone():
    a = torch.diag(torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])).double()
    c, s = np.cos(0.3), np.sin(0.3)
    turn = torch.eye(5, dtype=torch.float64)
    turn[:2, :2] = torch.tensor([[c, -s], [s, c]])
    for wide in (False, True):
        matrix = torch.cat([a, 0 * a], 1) if wide else torch.cat([a, 0 * a], 0)
        by = torch.block_diag(turn, torch.eye(5)).double() if wide else turn
        _, curves = First.of(matrix).to(matrix @ by)
        degrees = np.rad2deg(0.3)
        assert curves["right"] == pytest.approx([degrees, degrees, 0, 0, 0], rel=1e-4, abs=1e-5)
        assert curves["left"] == pytest.approx([0] * 5, abs=1e-5)


def test_the_energy_of_a_change_inside_the_head():
    a = torch.diag(torch.arange(20.0, 0, -1)).double()
    b = a.clone()
    b[0, 1] += 3  # inside the leading two dimensions
    b[3, 4] += 4  # outside
    assert First.of(a).to(b)[0]["energy"] == pytest.approx(9 / 25)


def test_the_unchanged_elements_are_those_of_equal_bf16_value():
    a = torch.ones(4, 5)
    b = a.clone()
    b[0] += 2**-7  # the next bf16
    b[1] += 2**-10  # rounds to the same
    assert First.of(a).to(b)[0]["unchanged"] == 3 / 4


def test_null_directions_count_nowhere():
    a, b = torch.zeros(6, 4), torch.zeros(6, 4)
    a[0, 0], b[0, 0], b[1, 1] = 2.0, 2.0, 1.0
    facts, curves = First.of(a).to(b)
    assert curves["left"] == curves["right"] == (0.0, None, None, None)
    assert curves["ratio"] == (1.0, None, None, None)
    assert facts["vectors"]["left"] == {"head": 0.0, "bulk": None, "tail": None}
    zero, _ = First.of(torch.zeros(3, 2)).to(torch.zeros(3, 2))
    assert (zero["values"], zero["change"], zero["alignment"]) == (None, None, [1.0, 1.0])


def test_nan_is_refused_on_either_side():
    a, b = pair((5, 4))
    b[1, 1] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        First.of(a).to(b)
    with pytest.raises(ValueError, match="NaN"):
        First.of(b)


@pytest.mark.parametrize("count", [1, 2, 3, 19, 20, 256, 257, 4096])
def test_the_chosen_ranks_hold_both_ends(count):
    ranks = Ranks.of(count)
    chosen = ranks.chosen.tolist()
    assert chosen == sorted(set(chosen))
    assert chosen[: ranks.head] == list(range(ranks.head))
    assert chosen[-ranks.head :] == list(range(count - ranks.head, count))
    assert len(chosen) == count if count <= 256 else len(chosen) == 2 * ranks.head + 64
    assert set(ranks.points.tolist()) <= set(chosen)


def test_the_rounding_neighbour_rounds_back():
    """Within the cell, so mostly to the same bf16; an element on a power of two has a smaller cell below."""
    matrix = torch.randn(200, 100).to(torch.bfloat16)
    matrix[0, :2] = torch.tensor([0.0, -0.0])
    neighbour = rounding_neighbour(matrix)
    mantissa, exponent = torch.frexp(matrix.double())
    assert ((neighbour - matrix.double()).abs() <= torch.ldexp(torch.ones(matrix.shape), exponent - 9)).all()
    inside = mantissa.abs() != 0.5
    assert torch.equal(neighbour.to(torch.bfloat16)[inside], matrix[inside])
    moved = (neighbour - matrix.float()).abs() / torch.ldexp(torch.ones(matrix.shape), exponent - 8)
    assert moved[1:].mean() == pytest.approx(0.25, abs=0.01)  # uniform over the cell


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's peak of memory")
def test_memory_holds_less_than_three_copies_in_fp64():
    shape = (4096, 1024)
    a, b = (m.bfloat16() for m in pair(shape))

    def work(pipe):
        torch.set_num_threads(1)
        First.of(a[:64, :64]).to(b[:64, :64])
        ctypes.CDLL(None).malloc_trim(0)  # what is free in the heap would count as held already
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = memory("VmRSS")
        First.of(a).to(b)
        pipe.send((memory("VmHWM") - before) / (8 * a.numel()))

    ours, theirs = multiprocessing.get_context("fork").Pipe()
    process = multiprocessing.get_context("fork").Process(target=work, args=(theirs,))
    process.start()
    assert ours.poll(60)
    copies = ours.recv()
    process.join()
    assert copies < 3
