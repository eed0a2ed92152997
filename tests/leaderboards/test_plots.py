import pytest

from points24.harness.cli import main
from points24.harness.record_store import add_records
from points24.tasks.errors import InputError
from tests.leaderboards.conftest import record

plots = pytest.importorskip("points24.leaderboards.plots", reason="needs the extra `plots`")


def steps():
    return [
        record(outcomes, model=f"run/checkpoint-{step}", step=step)
        for step, outcomes in ((20, "1110"), (10, "1100"), (30, "1111"))
    ]


def test_a_run_is_ordered_by_step():
    ((name, rules),) = plots.series(steps()).items()
    assert name == "run strict-match"
    assert [r.step for r in rules["ood"]] == [10, 20, 30]


def test_a_run_of_several_protocols_is_no_curve():
    with pytest.raises(InputError, match="several protocols"):
        plots.series([*steps(), record("11", model="run/checkpoint-40", step=40)])


def test_a_single_step_is_no_curve():
    assert plots.series(steps()[:1]) == {}


def test_accuracy_and_band_are_drawn_where_the_records_say():
    _, axes = plots._figure("a run")
    plots.accuracy_over_steps(axes, {"ood": sorted(steps(), key=lambda r: r.step or 0)})
    (line,) = axes.lines
    assert [float(y) for y in line.get_ydata()] == [50, 75, 100]
    assert [float(x) for x in line.get_xdata()] == [10, 20, 30]


def test_recovered_checkpoints_stand_after_their_parent():
    base, other = record(model="tuned"), record("1000", model="unrelated")
    repaired = record("1110", model="repaired", stage="recovered", parent="tuned")
    assert plots.recoveries([repaired, other, base]) == {"strict-match": [base, repaired]}


def test_the_same_records_give_the_same_files(tmp_path):
    repaired = record("1110", model="repaired", stage="recovered", parent="run/checkpoint-10")
    written = [plots.write_plots([*steps(), repaired], tmp_path / name) for name in "ab"]
    assert len(written[0]) == 3
    for first, second in zip(*written, strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_nothing_to_plot_is_bad_input(tmp_path, capsys):
    add_records(tmp_path / "records" / "a.jsonl", [record()])
    assert main(["leaderboard", "plot", "--dir", str(tmp_path), "-o", str(tmp_path / "plots")]) == 2
    assert "nothing to plot" in capsys.readouterr().err
