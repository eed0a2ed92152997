import json
import re
import shutil
import sys
from statistics import fmean

import pytest

import points24.leaderboards
from points24.harness.cli import main
from points24.harness.experiment.manifest import manifest_of
from points24.harness.experiment.measures import reproduction_of
from points24.harness.records.store import add_records
from points24.leaderboards.build import build, differing
from points24.leaderboards.reports.reproduction import duration, figure_names, markdown, write_reproduction
from points24.tasks.errors import InputError
from tests.harness.experiment.test_measures import changed, found, world

FIGURES = [f"reproduction_{name}.svg" for name in ("overview", "format", "drift", "recoveries")]


@pytest.fixture
def plots():
    return pytest.importorskip(
        "points24.leaderboards.reports.reproduction_plots", reason="needs the extra `plots`"
    )


def section(text, heading):
    return text.split(f"\n## {heading}")[1].split("\n## ")[0]


# -- the text --------------------------------------------------------------------------------------------


def test_the_report_starts_with_five_lines_of_verdicts_and_the_overview():
    about, summary, figure = markdown(found(3)).split("\n\n")[1:4]
    assert "3 seeds" in about
    assert "checkpoints called early (step 20), middle (step 100), late (step 400)" in about
    assert (
        "recovery from the SFT checkpoint that is best on OOD (step 10) into the final one (step 400)"
        in about
    )
    assert "7 min a seed, 20 min in all, of computing on 2 CPU cores" in about  # 3 · 401.2 s
    lines = summary.splitlines()
    assert len(lines) == 5
    verdicts = [re.findall(r"\*\*(\w+)\*\* .*?: \*(.*?)\*", line) for line in lines]
    assert verdicts == [
        [("0", "holds")],
        [("1", "holds")],
        [("2a", "holds"), ("2b", "holds")],
        [("3a", "holds"), ("3b", "does not hold")],
        [("4", "holds")],
    ]
    assert "; OOD, flexible: peak − step 0: +" in lines[0]  # how much of the rise is not format
    assert "; OOD gain by PPO: early − late start: " in lines[4]
    assert figure.endswith("(figures/reproduction_overview.svg)")


def test_every_finding_has_claim_rule_tables_and_figure():
    text = markdown(found(3))
    forgetting = section(text, "SFT on one rule")
    assert "The paper (arXiv:2509.12235, abstract, (1)" in forgetting
    assert "**0 holds.** It holds if the OOD peak is above step 0" in forgetting
    header, _, first, *_ = re.findall(r"^\|.*\|$", forgetting, re.MULTILINE)
    assert [cell.strip() for cell in header.split("|")[2:-1]] == [
        "mean, over seeds", "over deals", "seed 0", "seed 1", "seed 2"
    ]  # fmt: skip
    assert first.startswith("| **OOD: peak − step 0, points**")
    assert re.findall(r"\]\(figures/(.*?)\)", text) == [FIGURES[i] for i in (0, 1, 2, 3)]
    assert "It holds if the mean of the recovered share is at least 70 %" in text


def test_one_seed_is_said_to_speak_of_its_deals_alone():
    text = markdown(found(1))
    assert "one seed" in text
    assert "every interval is over the deals, and none says anything about another run" in text
    assert "over deals |" not in text
    assert "**2b inconclusive.**" in text


def test_key_figures_are_those_that_decide():
    lines = markdown(found(3, recipes={}, ppo={"early": 0.34, "middle": 0.27, "late": 0.40})).splitlines()
    first = next(line for line in lines if line.startswith("- **1**"))
    assert "*does not hold* (restored: middle − late: −" in first  # not the gain, which is above 0
    second = next(line for line in lines if line.startswith("- **2a**"))
    assert "*inconclusive* (OOD: directions − values, all ranks: not measured)" in second


def test_a_share_that_is_hardly_seen_is_not_defined():
    curve = {**dict.fromkeys((0, 2, 5, 20, 40, 100, 200), 0.2), 10: 0.25, 400: 0.225}
    assert "not defined" in section(markdown(found(1, n=40, ood=curve)), "Restoring the top 20 %")
    several = markdown(found(2, n=40, ood=curve))
    assert "*inconclusive* (recovered, directions, top 20% of ranks: not defined)" in several
    row = next(line for line in several.splitlines() if line.startswith("| **recovered, directions, top 20%"))
    mean, over_deals, *seeds = (cell.strip() for cell in row.split("|")[2:-1])
    assert (mean, over_deals) == ("", "")
    assert seeds == ["not defined"] * 2


def test_every_recipe_has_a_row_the_best_on_ood_first():
    made = found(3)
    (table,) = re.findall(r"Every recipe, .*\n\n((?:^\|.*\|\n)+)", markdown(made), re.MULTILINE)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert rows[0] == ["", "OOD, %", "recovered, %", "ID against SFT final, points"]
    assert [row[0] for row in rows[2:]] == made.recipes()
    first, *others = [each for each in made.recoveries if each]
    assert set(made.recipes()) == {each.recipe.label for each in first.checkpoints}
    means = [float(row[1].split()[0]) for row in rows[2:]]
    assert means == sorted(means, reverse=True)
    best = [each.checkpoints[0].id_gain for each in (first, *others)]
    gain = 100 * fmean(each.share for each in best if each)
    assert rows[2][3].startswith(f"{gain:+.1f} ".replace("-", "−"))
    assert "Every recipe" not in markdown(found(3, recipes={}))


def test_the_four_cells_and_the_memorised_rule_stand_for_every_checkpoint():
    text = section(markdown(found(3)), "What this instrument adds")
    scores, cells = re.findall(r"((?:^\|.*\|\n?)+)", text, re.MULTILINE)
    for table in (scores, cells):
        names = [line.split("|")[1].strip() for line in table.strip().splitlines()[2:]]
        assert names == [
            "base",
            "best OOD",
            "SFT final",
            *(f"PPO final, {s} start" for s in ("early", "middle", "late")),
        ]
        assert all(cell.strip() for line in table.strip().splitlines() for cell in line.split("|")[2:-1])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in scores.strip().splitlines()]
    assert rows[0][6] == "OOD wrong\\_rule"
    assert rows[2][6] == "0.0 \\[0.0, 1.6\\]"  # none of 240, by Wilson
    assert rows[4][6].startswith("43.")  # 45 % of the replies that are not correct


def test_what_was_not_scored_is_left_empty():
    manifest, records = world(3)
    kept = [r for r in records if r.hand_set not in ("id_heldout", "face_id")]
    text = markdown(reproduction_of(manifest_of(manifest), kept))
    assert re.search(r"^\| best OOD +\| +\| ", section(text, "What this instrument adds"), re.MULTILINE)


def test_names_cannot_break_out_of_the_report():
    manifest, records = world(1, n=8)
    text = markdown(reproduction_of(manifest_of(manifest | {"config": "a|b*"}), records))
    assert "a\\|b\\*" in text


def test_durations_read_well():
    assert [duration(s) for s in (48, 130, 7300, 10900)] == ["48 s", "2 min", "2 h 02 min", "3 h 02 min"]


# -- the figures -----------------------------------------------------------------------------------------


def test_the_overview_shows_seeds_means_ppo_and_recipes(plots):
    made = found(3)
    of_id, beside_id, ood, beside, wrong_rule, _ = plots.overview_figure(made).axes
    # Three seeds and the mean; of flexible the mean alone.
    for axes, lines in ((of_id, 5), (ood, 5), (wrong_rule, 4)):
        assert len([line for line in axes.lines if len(line.get_xdata()) == 9]) == lines
    best = made.get("sft-1/checkpoint-10", "ood")
    assert (10, 100 * best.k / best.n) in [tuple(p) for line in ood.lines for p in line.get_xydata().tolist()]
    assert len([text for text in ood.texts if text.arrow_patch]) == 3
    assert len(beside.get_xticklabels()) == 6
    assert beside_id.get_ylim() == of_id.get_ylim()


def test_nothing_in_the_figures_lies_outside_its_panel(plots):
    for seeds in (1, 3):
        made = found(seeds)
        for draw in (plots.overview_figure, plots.format_figure, plots.drift_figure, plots.recoveries_figure):
            for axes in draw(made).axes:
                low, high = axes.get_ylim()
                inside = [low <= y <= high for line in axes.lines for y in line.get_ydata()]
                assert all(inside) or axes.get_shared_y_axes().get_siblings(axes) != [axes]


def test_the_names_of_the_recipes_cover_neither_each_other_nor_the_legend(plots):
    figure = plots.overview_figure(found(3))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[3].get_xticklabels()]
    boxes += [figure.legends[0].get_window_extent()]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_drift_is_shown_of_the_parts_that_the_findings_compare(plots):
    manifest, records = world(1, n=40)
    manifest["drift"].append(manifest["drift"][0] | {"checkpoint": "sft-0/checkpoint-20"})
    figure = plots.drift_figure(reproduction_of(manifest_of(manifest), records))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "base → best OOD", "base → SFT final", "best OOD → SFT final",
        *(f"best OOD → PPO final, {start} start" for start in ("early", "middle", "late")),
    ]  # fmt: skip


def test_drift_over_the_steps_starts_at_0_where_it_is_measured_from(plots):
    manifest, records = world(2)
    for seed in range(2):
        (row,) = (
            r for r in manifest["drift"]
            if (r["seed"], r["first"]) == (seed, "nano") and r["checkpoint"].endswith("-400")
        )  # fmt: skip
        for step, part in ((40, 0.5), (100, 0.75)):
            manifest["drift"].append(
                row | {"checkpoint": f"sft-{seed}/checkpoint-{step}", "values": row["values"] * part}
            )
    axes = plots.drift_figure(reproduction_of(manifest_of(manifest), records)).axes[1]
    values = [line for line in axes.lines if line.get_color() == "#d95f02"]
    from_base = next(line for line in values if line.get_linestyle() == "-" and line.get_linewidth() == 2)
    assert from_base.get_xydata().tolist() == [
        [0, 0], [10, 0.004], [40, 0.002], [100, 0.003], [400, 0.004]
    ]  # fmt: skip
    from_best = next(line for line in values if line.get_linestyle() == "--")
    assert from_best.get_xydata().tolist() == [[10, 0], [400, 0.004]]


def test_without_recipes_or_drift_there_are_fewer_figures(plots):
    made = found(1, n=40, recipes={}, drift=False, ppo={})
    assert figure_names(made) == FIGURES[:2]
    figure = plots.overview_figure(made)
    assert len(figure.axes) == 3
    assert "PPO" not in "".join(text.get_text() for text in figure.legends[0].get_texts())
    assert "PPO" not in markdown(made).split("\n\n")[1]


# -- writing ---------------------------------------------------------------------------------------------


def test_the_same_experiment_gives_the_same_bytes(plots, tmp_path):
    manifest, records = world(2, n=40)
    written = [
        write_reproduction(manifest, each, tmp_path / name)
        for each, name in ((records, "a"), (records[::-1], "b"))
    ]
    assert [path.name for path in written[0]] == ["reproduction.md", *FIGURES]
    for first, second in zip(*written, strict=True):
        assert first.read_bytes() == second.read_bytes()
    shown = re.findall(r"\]\((figures/.*?)\)", written[0][0].read_text("utf-8"))
    assert sorted(tmp_path / "a" / name for name in shown) == sorted(written[0][1:])


def test_without_matplotlib_there_are_no_figures_and_the_report_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "points24.leaderboards.reports.reproduction_plots", raising=False)
    monkeypatch.delattr(points24.leaderboards, "reproduction_plots", raising=False)
    manifest, records = world(1, n=8)
    (report,) = write_reproduction(manifest, records, tmp_path)
    text = report.read_text("utf-8")
    assert "svg" not in text
    assert text.endswith("Figures need matplotlib: pip install 'points24[plots]'.\n")


def test_a_report_that_cannot_be_written_is_bad_input(tmp_path):
    (tmp_path / "file").write_text("")
    manifest, records = world(1, n=8)
    with pytest.raises(InputError, match="file"):
        write_reproduction(manifest, records, tmp_path / "file")


def test_build_writes_the_report_where_there_is_a_manifest_and_check_compares_it(
    tmp_path, capsys, monkeypatch
):
    def write_figures(made, folder):  # the real ones take seconds
        (folder / "figures").mkdir(exist_ok=True)
        for name in figure_names(made):
            (folder / "figures" / name).write_text(name)

    monkeypatch.setattr("points24.leaderboards.reports.reproduction.write_figures", write_figures)

    def leaderboard(word):
        return main(["leaderboard", word, "--dir", str(tmp_path)])

    manifest, records = world(1, n=40)
    add_records(tmp_path / "records" / "a.jsonl", records)
    build(tmp_path / "records", tmp_path)
    assert not (tmp_path / "reproduction.md").exists()
    path = tmp_path / "reproduction" / "nano" / "manifest.json"
    add_records(path.parent / "records.jsonl", records)
    path.write_text(json.dumps(manifest))
    names = ["README.md", "reproduction.md", *(f"figures/{name}" for name in FIGURES)]
    assert sorted(differing(tmp_path / "records", tmp_path)) == sorted(names)
    assert sorted(build(tmp_path / "records", tmp_path)) == sorted(names)
    assert build(tmp_path / "records", tmp_path) == []
    assert leaderboard("check") == 0
    assert "(reproduction.md)" in (tmp_path / "README.md").read_text("utf-8")

    (tmp_path / "reproduction.md").write_text("edited")
    (tmp_path / "figures" / FIGURES[0]).unlink()
    (tmp_path / "figures" / "reproduction_old.svg").write_text("left over")
    (tmp_path / "figures" / "curve.svg").write_text("of another command")
    assert sorted(differing(tmp_path / "records", tmp_path)) == sorted(
        ["reproduction.md", f"figures/{FIGURES[0]}", "figures/reproduction_old.svg"]
    )
    assert leaderboard("check") == 3
    assert leaderboard("build") == 0
    assert leaderboard("check") == 0

    path.write_text(json.dumps(changed(manifest, ("seeds", 0, "final"), None)))
    capsys.readouterr()
    assert leaderboard("build") == 2
    assert capsys.readouterr().err.endswith("manifest.json: seeds[0].final: missing\n")
    shutil.rmtree(path.parent.parent)
    assert leaderboard("build") == 0
    assert [p.name for p in (tmp_path / "figures").iterdir()] == ["curve.svg"]
    assert not (tmp_path / "reproduction.md").exists()
