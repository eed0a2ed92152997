import pytest

from points24.harness.cli import main
from points24.harness.drift.curves import Curve
from points24.harness.drift.report import Report, Row, read_report
from tests.harness.recovery.models import make_pair

plots = pytest.importorskip("points24.leaderboards.reports.drift_plots", reason="needs the extra `plots`")


def facts(angle, unchanged=0.5):
    ends = {end: {"k": 1, "mean": angle, "max": angle} for end in ("head", "tail")}
    vectors = dict.fromkeys(("head", "bulk", "tail"), angle)
    sides = ("left", "right")
    return {
        "values": 0.1,
        "change": 0.2,
        "unchanged": unchanged,
        "energy": None,
        "subspaces": dict.fromkeys(sides, ends),
        "vectors": dict.fromkeys(sides, vectors),
    }


def curve(step: int | None, module: str, layer: int, angle: float) -> Curve:
    line = (angle, angle, None, angle)
    return Curve(
        step=step, module=module, layer=layer, count=4, ranks=(0, 1, 2, 3), ratio=(1.0, 2.0, None, 1.0),
        left=line, right=line, head_left=(angle,), head_right=(angle,), tail_left=(angle,), tail_right=(angle,),
    )  # fmt: skip


def report(angles: dict[tuple[int, str, int], float]) -> Report:
    """`angles`: (step, module, layer) -> degrees."""
    rows: list[Row] = [
        {"step": step, "module": module, "layer": layer, **facts(angle), "floor": facts(0.01, 1.0)}
        for (step, module, layer), angle in angles.items()
    ]
    curves = [curve(step, module, layer, angle) for (step, module, layer), angle in angles.items()]
    places = dict.fromkeys((module, layer) for _, module, layer in angles)
    curves += [curve(None, *place, 0.01) for place in places]
    return Report(["base", "checkpoint-10", "run/checkpoint-20"], rows, curves)


ANGLES = {
    (0, "up_proj", 0): 1.0, (0, "up_proj", 1): 3.0, (0, "k_proj", 0): 2.0, (0, "k_proj", 1): 2.0,
    (1, "up_proj", 0): 4.0, (1, "up_proj", 1): 8.0, (1, "k_proj", 0): 6.0, (1, "k_proj", 1): 10.0,
}  # fmt: skip


def test_lines_are_means_by_module_and_by_layer_of_the_last_checkpoint():
    figure = plots.draw(report(ANGLES))
    by_title = {axes.get_title(loc="left"): axes for axes in figure.axes}
    left = by_title["Left vectors (output)"]
    assert [set(line.get_ydata()) for line in left.lines[:3]] == [{6.0}, {8.0}, {0.01}]  # up, k, rounding
    by_layer = figure.axes[6]
    assert [set(line.get_ydata()) for line in by_layer.lines[:2]] == [{5.0}, {9.0}]


def test_the_trajectory_has_one_scale_of_colours():
    figure = plots.draw(report(ANGLES))
    maps = [axes.images[0] for axes in figure.axes if axes.images and axes.get_title(loc="left")]
    assert len(maps) == 2
    assert maps[0].norm is maps[1].norm
    assert maps[0].get_array().tolist() == [[1.5, 5.0], [2.5, 9.0]]  # layers
    assert maps[1].get_array().tolist() == [[2.0, 6.0], [2.0, 8.0]]  # modules
    assert [label.get_text() for label in maps[0].axes.get_xticklabels()] == ["10", "run/20"]


def test_what_has_not_moved_is_drawn():
    plots.draw(report(dict.fromkeys(ANGLES, 0.0)))


def test_the_command_draws_the_folder_of_a_drift(tmp_path, capsys):
    pair = make_pair(tmp_path)
    assert main(["drift", *map(str, pair), "-o", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    assert main(["plot", "drift", str(tmp_path / "out"), "-o", str(tmp_path / "a.svg")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'a.svg'}\n"
    assert main(["plot", "drift", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/drift.svg").read_bytes() == (tmp_path / "a.svg").read_bytes()
    assert read_report(tmp_path / "out").names == ["source", "target"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [((), "drift.json: No such file"), (("-o", "a.png"), "--output: expected a file that ends in .svg")],
)
def test_bad_input_is_one_line(tmp_path, capsys, flags, message):
    assert main(["plot", "drift", str(tmp_path), *flags]) == 2
    assert message in capsys.readouterr().err
