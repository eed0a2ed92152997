import json
import re
import shutil
import sys

import pytest

from points24.harness.analysis.formats import WIDTH
from points24.harness.analysis.recovery import recoveries
from points24.harness.cli import main
from points24.harness.records.store import add_records
from points24.leaderboards.build import build, differing
from points24.leaderboards.figures import recovery_figures
from points24.leaderboards.reports import recovery_series
from points24.leaderboards.reports.recovery import markdown, write_recovery_report
from points24.tasks.errors import InputError
from tests.harness.analysis.test_recovery import DIRECTIONS, INTERPOLATE, ends, recovered, scored

RESET = {"method": "reset", "layers": "first 25%"}
_KINDS = ("directions", "values", "reset", "interpolate")
STEM = "recovery_late_from_early_strict_match"


def sweep():
    """Recovered checkpoints between `early` (OOD 15 of 20, ID 8) and `late` (OOD 3, ID 18)."""
    recipes = {
        "top5": (6, 16, DIRECTIONS | {"ranks": "top 5%"}),
        "top50": (9, 14, DIRECTIONS | {"ranks": "top 50%"}),
        "tail50": (5, 17, DIRECTIONS | {"ranks": "tail 50%"}),
        "top128": (7, 15, DIRECTIONS | {"ranks": "top 128"}),
        "values": (4, 18, DIRECTIONS | {"restore": "values"}),
        "all": (12, 9, DIRECTIONS),
        "first": (8, 10, DIRECTIONS | {"layers": "first 25%"}),
        "reset": (7, 12, RESET),
        "half": (10, 15, INTERPOLATE),
    }
    made = [r for name, (ood, of_id, recipe) in recipes.items() for r in recovered(name, ood, of_id, recipe)]
    return [*ends(), *made]


def pair():
    return recoveries(sweep())[0]


# -- the report ------------------------------------------------------------------------------------------


def test_the_report_has_a_sentence_and_a_table_per_pair_and_filter_strict_first():
    lenient = [*ends(filter="flexible-extract"), *recovered("m", 9, filter="flexible-extract")]
    text = markdown(recoveries([*lenient, *sweep()]))
    assert re.findall("^## (.*)$", text, re.MULTILINE) == [
        "late recovered from early, strict-match", "late recovered from early, flexible-extract"
    ]  # fmt: skip
    strict, _, flexible = text.partition("flexible-extract")
    assert "Best of 9 recipes, picked on each half of the deals and measured on the other: " in strict
    rows = [[cell.strip() for cell in line.split("|")] for line in strict.splitlines() if line[:1] == "|"]
    assert rows[0][1:5] == ["checkpoint", "recovered %", "retained %", "harmonic mean %"]
    means = [float(row[4].split()[0]) for row in rows[4:]]
    assert means == sorted(means, reverse=True)
    assert "| directions, top 128 ranks " in strict
    assert strict.count("\n|") == 2 + 2 + 9
    assert flexible.count("\n|") == 2 + 2 + 1
    # No recovered checkpoint was scored on ID: no column for its gain.
    assert "|IDvs" not in flexible.replace(" ", "")


def test_names_cannot_break_out_of_the_report():
    names = ("a|b", "c*d")
    records = [*scored("a|b", 15), *scored("c*d", 3), *recovered("m", 9, pair=names)]
    text = markdown(recoveries(records))
    assert "c\\*d recovered from a\\|b" in text
    assert "source: a\\|b" in text


def test_the_report_is_built_with_the_tables_and_taken_away_with_its_records(tmp_path):
    add_records(tmp_path / "records" / "a.jsonl", sweep())
    made = tmp_path / "generated"
    assert "recovery.md" in build(tmp_path).changed
    assert "(recovery.md)" in (made / "README.md").read_text()
    assert (made / "figures" / f"{STEM}_front.svg").is_file()
    shutil.rmtree(tmp_path / "records")
    add_records(tmp_path / "records" / "a.jsonl", ends())
    assert {"recovery.md", f"figures/{STEM}_front.svg"} <= set(differing(tmp_path))
    build(tmp_path)
    assert not (made / "recovery.md").exists()
    assert not list((made / "figures").iterdir())
    assert "recovery.md" not in (made / "README.md").read_text()


# -- the figures -----------------------------------------------------------------------------------------


@pytest.fixture
def figures():
    return pytest.importorskip(
        "points24.leaderboards.reports.recovery_plots", reason="needs the extra `plots`"
    )


@pytest.fixture
def front():
    return pytest.importorskip("points24.leaderboards.reports.front", reason="needs the extra `plots`")


def shown(series):
    return {each.label: [(x, r.ood.record.model) for x, r in each.points] for each in series}


def test_a_line_of_ranks_per_kind_and_end_of_the_spectrum():
    assert shown(recovery_series.ranks_series(pair())) == {
        "directions, top": [(0.05, "top5"), (0.5, "top50"), (1, "all")],
        "directions, tail": [(0.5, "tail50"), (1, "all")],
        "values": [(1, "values")],
    }


def test_a_line_of_layers_beside_resets():
    assert shown(recovery_series.layers_series(pair())) == {
        "directions, first": [(0.25, "first"), (1, "all")],
        "values": [(1, "values")],
        "reset, first": [(0.25, "reset")],
    }


def test_weighted_baselines_go_by_their_weight():
    assert shown(recovery_series.weight_series(pair())) == {"interpolate": [(0.5, "half")]}


def test_chosen_modules_make_a_line_of_their_own():
    chosen = DIRECTIONS | {"ranks": "top 20%", "modules": ["q_proj"]}
    (found,) = recoveries([*sweep(), *recovered("q", 4, 17, chosen)])
    assert shown(recovery_series.ranks_series(found))["directions, top, q_proj"] == [(0.2, "q")]


def drawn(axes):
    """The lines of a panel, as rounded points."""
    return [
        [(round(float(x), 6), round(float(y), 6)) for x, y in zip(*line.get_data(), strict=True)]
        for line in axes.lines
    ]


def test_lines_start_at_the_target_where_nothing_is_restored(figures):
    ood, baselines, of_id, _ = figures.ranks_figure(pair()).axes
    assert [(0, 15), (5, 30), (50, 45), (100, 60)] in drawn(ood)
    assert [(0, 15), (50, 25), (100, 60)] in drawn(ood)
    assert [(0, 90), (5, 80), (50, 70), (100, 45)] in drawn(of_id)
    assert [(0, 15), (0.5, 50), (1, 75)] in drawn(baselines)  # interpolation ends at the source


def test_intervals_lie_inside_the_panels(figures):
    for figure in (figures.ranks_figure(pair()), figures.layers_figure(pair())):
        for axes in figure.axes:
            low, high = axes.get_ylim()
            ends = [y for bars in axes.collections for path in bars.get_paths() for _, y in path.vertices]
            assert low <= min(ends)
            assert max(ends) <= high


def test_shares_that_crowd_at_the_start_are_spread(figures):
    assert figures.ranks_figure(pair()).axes[0].get_xscale() == "function"
    assert figures.layers_figure(pair()).axes[0].get_xscale() == "linear"


def test_names_on_the_front_cover_no_other_name(figures):
    from matplotlib.text import Text

    figure = figures.pareto_figure(pair())
    figure.draw_without_rendering()
    texts = [
        text for text in figure.axes[0].texts if not text.get_text().endswith(" %")
    ]  # not those of lines
    names = [Text.get_window_extent(text) for text in texts]  # without what ties it
    assert sorted(text.get_text() for text in texts) == sorted(
        [
            "source",
            "target",
            "0.5",
            "all",
            "all",
            "first 25%",
            "first 25%",
            "tail 50%",
            "top 128",
            "top 5%",
            "top 50%",
        ]
    )
    assert not any(a.overlaps(b) for i, a in enumerate(names) for b in names[:i])


def test_of_many_points_only_the_front_is_named(figures, front, monkeypatch):
    monkeypatch.setattr(front, "NAMED_UP_TO", 3)
    found = pair()
    named = {r.recipe.label for r in found.checkpoints if r.on_front}
    named |= {next(r for r in found.checkpoints if r.recipe.method.kind == k).recipe.label for k in _KINDS}
    of = {r.recipe.label: r.recipe.short for r in found.checkpoints}
    texts = [text.get_text() for text in figures.pareto_figure(found).axes[0].texts]
    assert sorted(t for t in texts if not t.endswith(" %")) == sorted(
        [*(of[label] for label in named), "source", "target"]
    )
    assert front.on_front([(1, 5), (2, 4), (2, 4), (1, 4), (3, 1)]) == [True, True, True, False, True]


def test_what_lies_far_below_both_ends_is_counted_not_shown(front, monkeypatch):
    monkeypatch.setattr(front, "NAMED_UP_TO", 2)
    points = [
        front.FrontPoint("source", "source", 50, 15, True),
        front.FrontPoint("target", "target", 60, 1, True),
        front.FrontPoint("values", "near", 21, 5, False),
        front.FrontPoint("values", "far", 19, 5, False),
    ]
    axes = front.front_figure("A sweep", points).axes[0]
    assert axes.get_title() == "A sweep\n1 with far lower ID accuracy not shown"
    assert "far" not in [text.get_text() for text in axes.texts]


def test_lines_of_equal_harmonic_mean_need_a_loss_and_a_gain(front):
    ends = [front.FrontPoint("source", "s", 50, 15, True), front.FrontPoint("target", "t", 60, 1, True)]
    for points, shown in ((ends, True), ([ends[0], ends[1]._replace(id=50)], False)):
        legend = front.front_figure("", points).axes[0].get_legend()
        assert ("equal harmonic mean" in [text.get_text() for text in legend.get_texts()]) is shown


def test_a_figure_without_two_points_is_left_out():
    (found,) = recoveries([*ends(), *recovered("one", 9, 12, DIRECTIONS | {"ranks": "top 20%"})])
    assert recovery_figures([found]) == [{}]
    (found,) = recoveries([*ends(), *recovered("a", 9, 12, RESET), *recovered("b", 9, 12, INTERPOLATE)])
    assert list(recovery_figures([found])[0]) == [f"{STEM}_front.svg"]


def test_without_id_there_is_one_row_of_panels(figures):
    records = [r for r in sweep() if r.rule == "ood"]
    (found,) = recoveries(records)
    assert len(figures.ranks_figure(found).axes) == 2
    assert recovery_series.kinds(found) == ["ranks", "layers"]


def test_pairs_of_one_name_get_figures_of_their_own():
    again = [
        *ends(30),
        *recovered("a", 9, n=30),
        *recovered("b", 9, n=30, recipe=DIRECTIONS | {"ranks": "top 5%"}),
    ]
    names = [list(each) for each in recovery_figures(recoveries([*sweep(), *again]))]
    assert names == [
        [f"{STEM}_1_ranks.svg"],
        [f"{STEM}_2_{what}.svg" for what in ("ranks", "layers", "front")],
    ]


# -- writing, and the command ----------------------------------------------------------------------------


def test_the_same_records_give_the_same_report_and_figures(figures, tmp_path):
    written = [write_recovery_report(recoveries(sweep()), tmp_path / name) for name in "ab"]
    assert [path.name for path in written[0]] == [
        "recovery.md", *(f"{STEM}_{what}.svg" for what in ("ranks", "layers", "front"))
    ]  # fmt: skip
    for first, second in zip(*written, strict=True):
        assert first.read_bytes() == second.read_bytes()
    report = written[0][0].read_text("utf-8")
    assert re.findall(r"!\[.*\]\((.*)\)", report) == [f"figures/{path.name}" for path in written[0][1:]]


def test_without_matplotlib_the_command_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    add_records(tmp_path / "run" / "records" / "a.jsonl", sweep())
    assert main(["plot", "recovery", str(tmp_path / "run")]) == 2
    assert "matplotlib is not installed: pip install 'points24[plots]'" in capsys.readouterr().err
    assert not (tmp_path / "run" / "recovery").exists()


def test_the_command_takes_folders_of_runs_or_records_and_says_what_it_found(figures, tmp_path, capsys):
    records = sweep()
    add_records(tmp_path / "sweep" / "records" / "a.jsonl", records[2:])
    add_records(tmp_path / "run" / "records" / "a.jsonl", records[:4])
    assert main(["plot", "recovery", str(tmp_path / "sweep"), str(tmp_path / "run" / "records")]) == 0
    lines = capsys.readouterr().out.splitlines()
    paths = [line for line in lines if line.startswith(str(tmp_path))]
    assert " ".join(lines).startswith("late recovered from early, strict-match. Best of 9 recipes")
    assert all(len(line) <= WIDTH for line in lines if line not in paths)
    assert paths[0] == str(tmp_path / "sweep" / "recovery" / "recovery.md")
    assert len(paths) == 4
    lost = recovered("m", 9, pair=("gone", "late"))
    add_records(tmp_path / "run" / "records" / "b.jsonl", lost)
    out = tmp_path / "out"
    assert (
        main(["plot", "recovery", str(tmp_path / "sweep"), str(tmp_path / "run"), "-o", str(out), "--json"])
        == 0
    )
    captured = capsys.readouterr()
    assert "warning: left out what lacks gone" in captured.err
    (found,) = map(json.loads, captured.out.splitlines())
    assert (found["target"]["name"], len(found["checkpoints"])) == ("late", 9)
    assert (out / "recovery.md").read_bytes() == (
        tmp_path / "sweep" / "recovery" / "recovery.md"
    ).read_bytes()


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (ends(), "no recovery: no OOD record of a checkpoint that points24 recover made"),
        (
            recovered("m", 9),
            "no recovery: no record of early, late with the protocol and decoding of what was",
        ),
    ],
)
def test_no_recovery_is_bad_input(figures, tmp_path, capsys, records, message):
    add_records(tmp_path / "records" / "a.jsonl", records)
    assert main(["plot", "recovery", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_bad_input(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        write_recovery_report(recoveries(sweep()), tmp_path / "file")
