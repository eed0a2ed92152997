import csv
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from points24.harness.cli import main
from points24.harness.drift.curves import averaged
from points24.harness.drift.quantities import QUANTITIES
from points24.harness.drift.report import read_report, short_names
from points24.tasks.errors import InputError
from tests.harness.recovery.models import make_pair


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
    said = capsys.readouterr()
    assert said.out.strip() == str(out)
    assert "points24: drift: layer 0, 1 of 2\npoints24: drift: layer 1, 2 of 2\n" in said.err
    rows = json.loads((out / "drift.json").read_text())["matrices"]
    assert len(rows) == 2 * 14
    for row in rows:
        rotated = row["tensor"] == name and row["step"] == 1
        assert (row["subspaces"]["right"]["head"]["mean"] > 20) == rotated
        assert row["subspaces"]["left"]["head"]["mean"] < 1  # a rotation of the input
        assert (row["unchanged"] < 0.1) == rotated
        assert 0 < row["floor"]["subspaces"]["right"]["head"]["mean"] < 10
        assert row["floor"]["unchanged"] > 0.9
    text = (out / "drift.md").read_text()
    assert "By module, the head turned most in up_proj" in text
    assert "By layer, the head turned most in 1 " in text
    assert "1 of 14 heads turned" in text
    assert all(f"| {quantity.title} | " in text for quantity in QUANTITIES.values())
    with (out / "drift.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 28
    assert {row["checkpoint"] for row in table} == {"checkpoint-10", "checkpoint-20"}


@pytest.fixture
def report(tmp_path):
    source, target = make_pair(tmp_path)
    assert main(["drift", str(source), str(target), "-o", str(tmp_path / "drift")]) == 0
    return tmp_path / "drift"


def test_a_report_is_read_as_it_was_written(report):
    names, rows, curves = read_report(report)
    assert names == ["source", "target"]
    assert len(rows) == 14
    assert len(curves) == 14 * 2  # and rounding
    assert {curve.step for curve in curves} == {None, 0}


def test_the_curves_of_experts_are_averaged(report):
    curve = read_report(report).curves[0]
    one, other, lacking = (replace(curve, left=(x,) * len(curve.ranks)) for x in (1.0, 3.0, None))
    (mean,) = averaged([one, other, lacking])
    assert mean.left == (2.0,) * len(curve.ranks)
    assert mean.right == pytest.approx(curve.right)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("drift.json", None, "drift.json: No such file or directory; expected the output of points24 drift"),
        ("curves.json", None, "curves.json: No such file"),
        ("drift.json", "{}", "drift.json: expected the drift.json of points24 drift"),
        ("curves.json", '[{"step": 0}]', "module: missing"),
        ("curves.json", "[", "curves.json: "),
    ],
)
def test_a_damaged_report_is_named(report, name, content, message):
    (report / name).unlink()
    if content is not None:
        (report / name).write_text(content)
    with pytest.raises(InputError) as caught:
        read_report(report)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_checkpoints_of_one_name_are_told_apart():
    given = ["hub/base", "runs/sft/checkpoint-10", "runs/ppo-a/checkpoint-120", "runs/ppo-b/checkpoint-120"]
    expected = ["base", "checkpoint-10", "ppo-a/checkpoint-120", "ppo-b/checkpoint-120"]
    assert short_names(given) == expected


def test_checkpoints_of_two_models_are_refused(tmp_path, capsys):
    source, _ = make_pair(tmp_path)
    other, _ = make_pair(tmp_path / "other", "qwen2")
    assert main(["drift", str(source), str(other), "-o", str(tmp_path / "drift")]) == 2
    assert "different architectures" in capsys.readouterr().err
    assert not (tmp_path / "drift").exists()
