import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from points24.harness.recovery.specs import weights
from points24.harness.recovery.spectral.factors import NULL, eigen, eigen_torch, factorise, gram, orient
from points24.harness.recovery.spectral.splice import (
    RESTORE,
    Cut,
    Factored,
    splice,
    wanted_ranks,
)
from tests.harness.recovery.oracle import oracle

SHAPES = {
    "square": (24, 24),
    "tall": (40, 16),
    "wide": (12, 33),
    "grouped keys": (8, 64),
    "row": (1, 9),
    "column": (9, 1),
}


def factored(matrix):
    return Factored(matrix, factorise(matrix))


def spliced(b: Factored, t: Factored, cuts, dtype=torch.bfloat16):
    """(result, change) of each cut, put together from its strips."""
    results = [t.matrix.to(dtype, copy=True) for _ in cuts]

    def put(cut, rows, columns, values):
        results[cut][rows, columns] = values

    changes = splice(b, t, cuts, dtype, put)
    return list(zip(results, changes, strict=True))


def one(source, target, cut, dtype=torch.bfloat16):
    return spliced(factored(source), factored(target), [cut], dtype)[0][0]


def bits(matrix):
    return matrix.contiguous().view(torch.int16)


def random_matrix(seed, shape, kind="full"):
    """bf16; "deficient": every third column repeats its neighbour on the left; "zero": nothing."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(shape, generator=generator)
    if kind == "deficient":
        if shape[0] >= shape[1]:
            matrix[:, 1::3] = matrix[:, 0::3][:, : matrix[:, 1::3].shape[1]]
        else:
            matrix[1::3] = matrix[0::3][: matrix[1::3].shape[0]]
    if kind == "zero":
        matrix.zero_()
    return matrix.to(torch.bfloat16)


def ranks_of(intervals):
    return {rank for start, stop in intervals for rank in range(start, stop)}


@st.composite
def cuts(draw, ranks):
    top = draw(st.integers(0, ranks))
    tail = draw(st.integers(0 if top else 1, ranks))
    intervals = (
        ((0, ranks),)
        if top + tail >= ranks
        else tuple(i for i in ((0, top), (ranks - tail, ranks)) if i[0] < i[1])
    )
    return Cut(draw(st.sampled_from(RESTORE)), intervals)


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(SHAPES)),
    st.integers(0, 2**31),
    st.sampled_from(["full", "deficient", "zero"]),
    st.sampled_from(["full", "deficient", "zero"]),
    st.data(),
)
def test_every_variant_and_shape_equals_the_full_svd_bit_for_bit(name, seed, source_kind, target_kind, data):
    shape = SHAPES[name]
    source, target = random_matrix(seed, shape, source_kind), random_matrix(seed + 1, shape, target_kind)
    chosen = data.draw(st.lists(cuts(min(shape)), min_size=1, max_size=4))
    results = spliced(factored(source), factored(target), chosen)
    for cut, (result, _) in zip(chosen, results, strict=True):
        expected = oracle(
            source.double().numpy(), target.double().numpy(), cut.restore, ranks_of(cut.intervals)
        )
        different = result != torch.from_numpy(expected).to(torch.bfloat16)
        # Where the exact result is zero, either side has fp64 noise around it.
        assert int((different & (torch.from_numpy(np.abs(expected)) > 1e-12)).sum()) == 0
        assert result[different].abs().max().item() < 1e-12 if different.any() else True


@pytest.mark.parametrize("shape", [(512, 512), (688, 256), (64, 512)])
@pytest.mark.parametrize("restore", RESTORE)
def test_model_sized_matrices_equal_the_full_svd_bit_for_bit(shape, restore):
    source = (0.02 * torch.randn(shape, generator=torch.Generator().manual_seed(1))).to(torch.bfloat16)
    target = (source + 0.002 * random_matrix(2, shape)).to(torch.bfloat16)
    ranks = min(shape)
    k = round(0.2 * ranks)
    result = one(source, target, Cut(restore, ((0, k),)))
    expected = oracle(source.double().numpy(), target.double().numpy(), restore, set(range(k)))
    assert torch.equal(bits(result), bits(torch.from_numpy(expected).to(torch.bfloat16)))


@pytest.mark.parametrize("kind", ["full", "deficient", "zero"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_all_ranks_of_both_give_the_source(shape, kind):
    source, target = random_matrix(3, shape, kind), random_matrix(4, shape)
    result = one(source, target, Cut("both", ((0, min(shape)),)))
    assert torch.equal(bits(result), bits(source))


@pytest.mark.parametrize("restore", RESTORE)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_equal_matrices_stay_as_they_are(shape, restore):
    matrix = random_matrix(5, shape)
    cut = Cut(restore, ((0, max(1, min(shape) // 2)),))
    assert torch.equal(bits(one(matrix, matrix.clone(), cut)), bits(matrix))


@given(st.integers(0, 2**31), st.sampled_from(RESTORE), st.sampled_from(sorted(SHAPES)))
def test_signs_of_the_singular_vectors_do_not_matter(seed, restore, name):
    shape = SHAPES[name]
    pair = [factored(random_matrix(seed + i, shape)) for i in range(2)]
    flipped = []
    for i, (matrix, (values, vectors, _)) in enumerate(pair):
        signs = torch.randn(len(values), generator=torch.Generator().manual_seed(seed + i)).sign().double()
        flipped.append(Factored(matrix, type(pair[0].factors)(values, vectors * signs)))
    cut = Cut(restore, ((0, max(1, min(shape) // 3)),))
    as_they_are, with_signs = (spliced(b, t, [cut])[0][0] for b, t in (pair, flipped))
    assert torch.equal(bits(as_they_are), bits(with_signs))


@given(st.integers(0, 2**31), st.sampled_from(RESTORE), st.sampled_from(sorted(SHAPES)))
def test_transposition_does_not_matter(seed, restore, name):
    shape = SHAPES[name]
    source, target = random_matrix(seed, shape), random_matrix(seed + 1, shape)
    cut = Cut(restore, ((0, max(1, min(shape) // 3)),))
    result, transposed = one(source, target, cut), one(source.T, target.T, cut)
    assert torch.equal(bits(result), bits(transposed.T))


def test_a_taper_weighs_each_rank():
    source, target = random_matrix(6, (20, 12)).double(), random_matrix(7, (20, 12)).double()
    ranks, taper = 12, 6
    result = one(source, target, Cut("directions", ((0, 5),), taper), torch.float64)
    expected = target.numpy().copy()
    for rank, weight in enumerate(weights(((0, 5),), ranks, taper)):
        alone = oracle(source.numpy(), target.numpy(), "directions", {rank}) - target.numpy()
        expected += weight * alone
    assert np.abs(result.numpy() - expected).max() < 1e-12


def test_the_edit_and_what_rounding_loses_of_it_are_measured():
    source, target = random_matrix(8, (300, 200)), random_matrix(9, (300, 200))
    ((result, change),) = spliced(factored(source), factored(target), [Cut("directions", ((0, 40),))])
    exact = oracle(source.double().numpy(), target.double().numpy(), "directions", set(range(40)))
    assert change.edit == pytest.approx(np.linalg.norm(exact - target.double().numpy()))
    assert change.lost == pytest.approx(np.linalg.norm(exact - result.double().numpy()))


def test_factors_are_those_of_the_svd():
    matrix = random_matrix(10, (700, 300))
    values, vectors, _ = factorise(matrix)
    assert np.allclose(values.numpy(), np.linalg.svd(matrix.double().numpy(), compute_uv=False), rtol=1e-10)
    assert torch.allclose(vectors.T @ vectors, torch.eye(300, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("solver", [eigen, eigen_torch])
def test_the_vectors_of_some_ranks_are_those_of_all(shape, solver):
    matrix = orient(random_matrix(18, shape))
    squares, ranks = matrix.double().T @ matrix.double(), matrix.shape[1]
    expected, every = np.linalg.eigh(squares.numpy())
    for start, stop in {(0, 0), (0, ranks), (0, 1), (ranks // 2, ranks)}:
        values, vectors = solver(gram(matrix), (start, stop))
        assert np.allclose(values, expected[::-1], atol=1e-12 * expected[-1])
        assert vectors.shape == (ranks, stop - start)
        overlap = np.abs(every[:, ::-1][:, start:stop].T @ vectors.numpy())
        assert np.allclose(overlap, np.eye(stop - start), atol=1e-9)


@given(st.integers(0, 2**31), st.sampled_from(sorted(SHAPES)), st.data())
def test_the_wanted_vectors_and_narrow_strips_are_enough(seed, name, data):
    shape = (200, SHAPES[name][1]) if SHAPES[name][0] >= SHAPES[name][1] else (SHAPES[name][0], 200)
    source, target = random_matrix(seed, shape), random_matrix(seed + 1, shape)
    ranks = min(shape)
    chosen = data.draw(st.lists(cuts(ranks), min_size=1, max_size=3))
    chosen += [data.draw(cuts(ranks))._replace(taper=data.draw(st.integers(1, ranks)))]
    expected = spliced(factored(source), factored(target), chosen)
    wanted = zip((source, target), wanted_ranks(chosen, ranks), strict=True)
    few = [Factored(matrix, factorise(matrix, interval)) for matrix, interval in wanted]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("points24.harness.recovery.spectral.splice._STRIP", 1)  # as narrow as a chunk: 64 rows
        patch.setattr("points24.harness.recovery.spectral.factors._CHUNK", 1)
        results = spliced(few[0], few[1], chosen)
    for (result, change), (whole, of_whole) in zip(results, expected, strict=True):
        assert torch.equal(bits(result), bits(whole))
        assert change == pytest.approx(of_whole, rel=1e-9)


def test_null_directions_are_counted():
    matrix = random_matrix(11, (40, 15), "deficient")
    assert np.linalg.matrix_rank(matrix.double().numpy()) == 10
    assert factorise(matrix).null == factorise(matrix.T).null == 5
    assert factorise(torch.zeros(4, 4)).null == 4
    assert NULL == 1e-7


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_non_finite_elements_are_refused(bad, dtype):
    matrix = torch.randn(9, 5).to(dtype)
    matrix[3, 2] = bad
    with pytest.raises(ValueError, match="NaN"):
        gram(matrix)


@pytest.mark.gpu
@pytest.mark.parametrize("restore", RESTORE)
def test_the_gpu_gives_the_cpus_bits(restore):
    source, target = random_matrix(16, (1024, 512)), random_matrix(17, (1024, 512))
    cut = Cut(restore, ((0, 100),))
    here = one(source, target, cut)
    there = one(source.cuda(), target.cuda(), cut)
    assert torch.equal(bits(here), bits(there.cpu()))
