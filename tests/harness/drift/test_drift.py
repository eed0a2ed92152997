import csv
import json
import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from points24.harness.cli import main
from points24.harness.drift.angles import compare, principal_angles, rounding_neighbour
from points24.harness.recovery.specs import parse_amount
from tests.harness.recovery.models import make_pair


def basis(generator, n, k):
    return torch.linalg.qr(torch.randn(n, k, generator=generator, dtype=torch.float64))[0]


@given(st.integers(0, 2**31), st.integers(1, 12), st.sampled_from([1e-12, 1e-8, 1e-4, 1e-2, 1.0, 1e3]))
def test_angles_agree_with_scipy(seed, k, size):
    generator = torch.Generator().manual_seed(seed)
    x = basis(generator, 30, k)
    y = torch.linalg.qr(x + size * torch.randn(30, k, generator=generator, dtype=torch.float64))[0]
    expected = scipy.linalg.subspace_angles(x.numpy(), y.numpy())
    assert np.abs(principal_angles(x, y).numpy() - expected).max() < 1e-9


def test_the_angle_of_two_lines_in_the_plane():
    x, y = (torch.tensor([[math.cos(a)], [math.sin(a)]], dtype=torch.float64) for a in (0.2, 0.5))
    assert principal_angles(x, y).item() == pytest.approx(0.3, abs=1e-15)


@pytest.mark.parametrize("shape", [(60, 40), (40, 60), (40, 40)])
def test_angles_of_leading_and_trailing_subspaces_are_scipys(shape):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(shape, generator=generator, dtype=torch.float64)
    b = a + 0.1 * torch.randn(shape, generator=generator, dtype=torch.float64)
    facts = compare(a, b)
    va, vb = (np.linalg.svd(m.numpy() if shape[0] >= shape[1] else m.T.numpy())[2].T for m in (a, b))
    for end, chosen in (("leading", slice(0, 8)), ("trailing", slice(32, 40))):
        angles = np.rad2deg(scipy.linalg.subspace_angles(va[:, chosen], vb[:, chosen]))
        assert facts[end]["20%"]["k"] == 8
        assert facts[end]["20%"]["mean"] == pytest.approx(angles.mean(), abs=1e-9)
        assert facts[end]["20%"]["max"] == pytest.approx(angles.max(), abs=1e-9)
    deciles = np.abs((va * vb).sum(0)).reshape(10, 4).mean(1)
    assert facts["alignment"] == pytest.approx(deciles, abs=1e-9)


def test_a_pure_rescaling_moves_values_and_no_direction():
    a = torch.diag(torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])).double()
    facts = compare(a, 1.5 * a)
    assert facts["values"] == pytest.approx(0.5)
    assert facts["change"] == pytest.approx(0.5)
    assert all(angle["max"] < 1e-6 for angle in facts["leading"].values())
    assert facts["alignment"] == pytest.approx([1.0] * 5)


def test_the_energy_of_a_change_inside_the_leading_subspaces():
    a = torch.diag(torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])).double()
    b = a.clone()
    b[0, 1] += 3  # inside the leading two dimensions
    b[3, 4] += 4  # outside
    facts = compare(a, b, [parse_amount("2")])
    assert facts["energy"]["2"] == pytest.approx(9 / 25)


def test_the_rounding_neighbour_rounds_back():
    """Within the cell, so mostly to the same bf16; an element on a power of two has a smaller cell below."""
    matrix = torch.randn(200, 100).to(torch.bfloat16)
    neighbour = rounding_neighbour(matrix)
    mantissa, exponent = torch.frexp(matrix.double())
    assert ((neighbour - matrix.double()).abs() <= torch.ldexp(torch.ones(matrix.shape), exponent - 9)).all()
    inside = mantissa.abs() != 0.5
    assert torch.equal(neighbour.to(torch.bfloat16)[inside], matrix[inside])
    assert not torch.equal(neighbour, matrix.double())


def test_the_report_finds_the_matrix_that_was_rotated(tmp_path, capsys):
    source, _ = make_pair(tmp_path)
    tensors = load_file(source / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    rotation = torch.linalg.qr(torch.randn(32, 32))[0]
    for step in ("checkpoint-10", "checkpoint-20"):
        (tmp_path / step).mkdir()
        (tmp_path / step / "config.json").write_text((source / "config.json").read_text())
        save_file(tensors, tmp_path / step / "model.safetensors")
        tensors[name] = (tensors[name].float() @ rotation).bfloat16()
    out = tmp_path / "drift"
    assert (
        main(
            [
                "drift",
                str(source),
                str(tmp_path / "checkpoint-10"),
                str(tmp_path / "checkpoint-20"),
                "-o",
                str(out),
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.strip() == str(out)
    rows = json.loads((out / "drift.json").read_text())["matrices"]
    assert len(rows) == 2 * 14
    for row in rows:
        rotated = row["tensor"] == name and row["step"] == 1
        assert (row["leading"]["20%"]["mean"] > 20) == rotated
        assert 0 < row["floor"]["leading"]["20%"]["mean"] < 10
    text = (out / "drift.md").read_text()
    assert "most in up_proj" in text
    assert "most in 1 " in text
    assert "1 of 14 matrices rotated" in text
    with (out / "drift.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 28
    assert {row["checkpoint"] for row in table} == {"checkpoint-10", "checkpoint-20"}


def test_heat_maps_are_drawn_where_matplotlib_is(tmp_path):
    pytest.importorskip("matplotlib")
    source, target = make_pair(tmp_path)
    assert main(["drift", str(source), str(target), "-o", str(tmp_path / "drift")]) == 0
    maps = sorted(path.name for path in (tmp_path / "drift").glob("*.png"))
    assert maps == ["change_0.png", "leading_0.png", "trailing_0.png", "values_0.png"]
    assert "![leading_0.png]" in (tmp_path / "drift/drift.md").read_text()


def test_checkpoints_of_two_models_are_refused(tmp_path, capsys):
    source, _ = make_pair(tmp_path)
    other, _ = make_pair(tmp_path / "other", "qwen2")
    assert main(["drift", str(source), str(other), "-o", str(tmp_path / "drift")]) == 2
    assert "different architectures" in capsys.readouterr().err
    assert not (tmp_path / "drift").exists()
