import sys

import pytest

from points24.harness.analysis.curve import curve
from points24.harness.cli import main
from points24.harness.records.store import add_records
from points24.leaderboards.aggregate import curves
from points24.leaderboards.build import build
from tests.leaderboards.conftest import record

plots = pytest.importorskip("points24.leaderboards.render.curves", reason="needs the extra `plots`")


def steps(**changes):
    return [
        record(outcomes, **{"model": f"run/checkpoint-{step}", "step": step} | changes)
        for step, outcomes in ((20, "1110"), (10, "1100"), (30, "1111"))
    ]


def test_a_run_is_one_curve_per_filter():
    found, _ = curves([*steps(filter="flexible-extract"), *steps(), record(model="unrelated")])
    assert [(each.run, each.filter) for each in found] == [
        ("run", "strict-match"), ("run", "flexible-extract")
    ]  # fmt: skip
    assert list(found[0].ood) == [10, 20, 30]


def test_a_parent_counts_where_it_was_scored_likewise():
    tuned = steps(parent="base")
    for base, expected in (
        (record(model="base"), [0, 10, 20, 30]),
        (record("11", model="base"), [10, 20, 30]),
    ):
        ((found,), _) = curves([*tuned, base])
        assert list(found.ood) == expected


def test_a_run_of_several_protocols_is_no_curve():
    mixed = [*steps(), record("11", model="run/checkpoint-40", step=40)]
    found, (why,) = curves(mixed)
    assert found == []
    assert "several protocols" in why


def test_a_run_without_curve_does_not_keep_the_tables_from_being_built(tmp_path, capsys):
    mixed = [*steps(), record("11", model="run/checkpoint-40", step=40)]
    add_records(tmp_path / "records" / "a.jsonl", mixed)
    assert main(["leaderboard", "build", "--dir", str(tmp_path)]) == 0
    assert "warning: no curve: run: records of several protocols" in capsys.readouterr().err


def test_a_single_step_is_no_curve():
    assert curves(steps()[:1]) == ([], [])


def forgetful():
    """OOD accuracy of 4, 12 and 0 of 12 deals: forgetting between 20 and 30."""
    return curve(
        record("1" * k + "0" * (12 - k), model=f"run/checkpoint-{step}", step=step)
        for step, k in ((10, 4), (20, 12), (30, 0))
    )


def test_accuracy_marks_and_the_beginning_of_forgetting_are_drawn_where_the_records_say():
    axes, *_ = plots.curve_figure(forgetful()).axes
    drawn = {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in axes.lines}
    assert drawn == {
        "OOD": [(10, pytest.approx(100 * 4 / 12)), (20, 100), (30, 0)],
        "best OOD, step 20": [(20, 100)],
        "final, step 30": [(30, 0)],
    }
    (span,) = [patch for patch in axes.patches if patch.get_label() == "forgetting begins"]
    assert (span.get_x(), span.get_width()) == (20, 10)


def test_nothing_is_shaded_where_nothing_is_forgotten():
    axes, *_ = plots.curve_figure(curve(steps())).axes
    assert not axes.patches


def test_steps_that_crowd_at_the_start_are_spread():
    def scale(*numbers):
        records = [record(model=f"run/checkpoint-{step}", step=step) for step in numbers]
        return plots.curve_figure(curve(records)).axes[1].get_xscale()

    assert scale(10, 20, 30, 40) == "linear"
    assert scale(10, 20, 40, 80, 160, 320) == "symlog"


def test_build_draws_the_same_files_from_the_same_records(tmp_path):
    pair = {"source": "run/checkpoint-30", "target": "run/checkpoint-10", "layers": "all"}
    recipes = [
        pair | {"method": "spectral", "restore": "both", "ranks": f"top {share}%"} for share in (20, 50)
    ]
    recovered = [record(model=f"recovered-{r['ranks']}", recipe=r) for r in recipes]
    for name in "ab":
        add_records(tmp_path / name / "records" / "a.jsonl", [*steps(), *recovered])
        build(tmp_path / name)
    first, second = (sorted((tmp_path / name / "generated" / "figures").iterdir()) for name in "ab")
    assert [path.name for path in first] == [
        "curve_run_strict_match.svg",
        "recovery_run_checkpoint_10_from_run_checkpoint_30_strict_match_ranks.svg",
    ]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_the_command_draws_a_run_folder_and_prints_the_path(tmp_path, capsys):
    add_records(tmp_path / "records" / "curve.jsonl", steps())
    assert main(["plot", "curve", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'curve.svg'}\n"
    again = tmp_path / "again" / "curve.svg"
    assert main(["plot", "curve", str(tmp_path), "-o", str(again)]) == 0
    assert again.read_bytes() == (tmp_path / "curve.svg").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--filter", "flexible-extract"], "no record of a training step on hand set ood under filter flex"),
        (["-o", "curve.png"], "expected a file that ends in .svg, found curve.png"),
        (["-o", "records/curve.jsonl/curve.svg"], "records/curve.jsonl/curve.svg: File exists"),
    ],
)
def test_what_cannot_be_drawn_is_bad_input(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    add_records(tmp_path / "records" / "curve.jsonl", steps())
    assert main(["plot", "curve", ".", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_without_matplotlib_the_command_says_what_to_install(tmp_path, capsys, monkeypatch):
    add_records(tmp_path / "records" / "curve.jsonl", steps())
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["plot", "curve", str(tmp_path)]) == 2
    assert "matplotlib is not installed: pip install 'points24[plots]'" in capsys.readouterr().err


def test_steps_that_crowd_at_the_start_get_room():
    for steps_of_run, scale in (((5, 10, 20, 100, 200), "symlog"), ((80, 160, 240), "linear")):
        found = curve(record("10", model=f"run/checkpoint-{n}", step=n) for n in steps_of_run)
        assert plots.curve_figure(found).axes[0].get_xscale() == scale


def test_the_memorised_rule_has_a_scale_of_its_own():
    shares = {"correct": 2, "wrong_rule": 1, "wrong_value": 97}
    found = curve(
        record("11" + "0" * 98, model=f"run/checkpoint-{n}", step=n, verdicts=shares) for n in (10, 20)
    )
    _, memorised, _ = plots.curve_figure(found).axes
    assert list(memorised.lines[0].get_ydata()) == [1, 1]
    assert memorised.get_ylim()[1] < 2
