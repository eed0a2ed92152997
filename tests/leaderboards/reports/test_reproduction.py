import json
import re
import shutil
from dataclasses import replace
from statistics import fmean

import pytest

from points24.harness.cli import main
from points24.harness.experiment.best import best_of
from points24.harness.experiment.manifest import manifest_of
from points24.harness.experiment.measures import reproduction_of
from points24.harness.records.store import add_records
from points24.leaderboards import figures
from points24.leaderboards.build import build, contents, differing, texts
from points24.leaderboards.reports import recipes, reproduction
from points24.leaderboards.reports.reproduction import duration
from tests.harness.experiment.test_measures import ID, OOD, RECIPES, changed, found, scored, world

FIGURES = [f"nano_{name}.svg" for name in ("overview", "drift", "recipes_front", "recoveries")]


@pytest.fixture
def plots():
    return pytest.importorskip(
        "points24.leaderboards.reports.reproduction_plots", reason="needs the extra `plots`"
    )


def markdown(made):
    return reproduction.markdown("nano", made)


def rows_of(table):
    """The cells of a Markdown table, its header first."""
    lines = table.strip().splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in [lines[0], *lines[2:]]]


def verdicts(made):
    """Label -> [what, paper, here, verdict], from the table that leads the report."""
    header, *rows = rows_of(markdown(made).split("\n\n")[2])
    assert header == ["finding", "paper", "here", "verdict"]
    return {row[0].split("**")[1]: row for row in rows}


def section(text, heading):
    """From a heading to the next one of its level or above."""
    level, _, below = next(
        (level, *text.partition(f"\n{level} {heading}")[1:])
        for level in ("##", "###")
        if f"\n{level} {heading}" in text
    )
    return re.split(rf"\n#{{2,{len(level)}}} ", below)[0]


# -- the text --------------------------------------------------------------------------------------------


def test_the_limits_say_what_kind_of_base_it_is():
    strong = found(1, n=40, of_id=dict.fromkeys(ID, 0.5))
    assert "The base wins most hands because it was trained on them" in markdown(strong)
    weak = found(1, n=40)  # 5 % in the format asked for, 10 % in another
    assert "The base wins 15.0 % of the ID deals in any format: few replies tell" in markdown(weak)


def test_the_report_leads_with_one_table_of_verdicts_and_the_overview():
    made = found(3)
    about, _, figure = markdown(made).split("\n\n")[1:4]
    assert "3 seeds" in about
    assert "the SFT checkpoints early (step 20), middle (step 100), late (step 400)" in about
    assert "the SFT checkpoint that is best on OOD (step 10) in the final one (step 400)" in about
    table = verdicts(made)
    assert {label: row[3] for label, row in table.items()} == {
        "0": "*holds*", "1": "*holds*", "2a": "*holds*", "2b": "*holds*", "2c": "*holds*", "3a": "*holds*",
        "3b": "*does not hold*", "3c": "*holds*", "4": "*holds*",
    }  # fmt: skip
    assert table["3a"][1] == "70–80 % recovered"
    assert "; OOD, flexible: peak − step 0: +" in table["0"][2]  # how much of the rise is not format
    assert "; OOD gain by PPO: early − late start: " in table["4"][2]
    assert figure.endswith("(figures/nano_overview.svg)")


def test_several_reproductions_stand_side_by_side():
    many, one = found(3), found(1)
    header, *rows = rows_of(reproduction.side_by_side({"many": many, "one": one}))
    assert header[:2] == ["finding", "paper"]
    assert header[2].endswith("(many.md), 3 seeds")
    assert header[3].endswith("(one.md), one seed")
    by_label = {row[0].split("**")[1]: row for row in rows}
    for column, made in ((2, many), (3, one)):
        for label, (what, paper, here, verdict) in verdicts(made).items():
            assert by_label[label][:2] == [what, paper]
            assert by_label[label][column] == f"{verdict}: {here}"


def test_every_finding_has_the_papers_claim_a_verdict_a_table_and_its_figure():
    text = markdown(found(3))
    forgetting = section(text, "SFT on one rule")
    assert "The paper (arXiv:2509.12235, abstract, (1)" in forgetting
    assert "**0, OOD rises, peaks and falls: holds.**" in forgetting
    header, _, first, *_ = re.findall(r"^\|.*\|$", forgetting, re.MULTILINE)
    assert [cell.strip() for cell in header.split("|")[2:-1]] == ["mean, over the seeds", "over the deals"]
    assert first.startswith("| **OOD: peak − step 0, points**")
    assert re.findall(r"\]\(figures/(.*?)\)", text) == FIGURES


def test_rules_seeds_recipes_and_run_time_stand_in_the_appendix():
    appendix = markdown(found(3)).partition("\n## Appendix")[2]
    assert "**0** holds if the OOD peak is above step 0" in appendix
    assert "holds if the mean of the recovered share is at least 70 %" in appendix
    header, _, first, *_ = re.findall(r"^\|.*\|$", section(appendix, "Seeds"), re.MULTILINE)
    assert [cell.strip() for cell in header.split("|")[2:-1]] == ["seed 0", "seed 1", "seed 2"]
    assert first.startswith("| **OOD: peak − step 0, points**")
    assert "On 2 CPU cores: 7 min a seed, 20 min in all" in section(appendix, "Run time")  # 3 · 401.2 s
    assert "### Every recipe" in appendix


def test_one_seed_is_said_to_speak_of_its_deals_alone():
    text = markdown(found(1))
    assert "one seed" in text
    assert "every interval is over the deals and tells nothing about another run" in text
    assert "mean, over the seeds" not in text
    assert "### Seeds" not in text
    assert verdicts(found(1))["2b"][3] == "*inconclusive*"


def test_key_figures_are_those_that_decide():
    table = verdicts(found(3, recipes={}, ppo={"early": 0.34, "middle": 0.27, "late": 0.40}))
    assert table["1"][3] == "*does not hold*"
    assert table["1"][2].startswith("restored: middle − late: −")  # not the gain, which is above 0
    assert table["2a"][2:] == ["OOD: directions − values, all ranks: not measured", "*inconclusive*"]


def test_a_share_that_is_hardly_seen_is_not_defined():
    curve = {**dict.fromkeys((0, 2, 5, 20, 40, 100, 200), 0.2), 10: 0.25, 400: 0.225}
    assert "not defined" in section(markdown(found(1, n=40, ood=curve)), "Restoring the top 20 %")
    several = found(2, n=40, ood=curve)
    here = ["recovered, directions, top 20% of ranks: not defined", "*inconclusive*"]
    assert verdicts(several)["3a"][2:] == here
    start = "| **recovered, directions, top 20%"
    means, seeds = (line for line in markdown(several).splitlines() if line.startswith(start))
    assert [cell.strip() for cell in means.split("|")[2:-1]] == ["not defined", ""]
    assert [cell.strip() for cell in seeds.split("|")[2:-1]] == ["not defined"] * 2


def test_seeds_that_agree_exactly_have_no_interval():
    assert not re.search(r"\[([+−]?\d+\.\d), \1\\?\]", markdown(found(2, n=40, drift=False)))


def test_every_recipe_has_a_row_kind_by_kind_the_best_mean_first():
    made = found(3)
    (table,) = re.findall(r"### Every recipe\n\n.*\n\n((?:^\|.*\|\n)+)", markdown(made), re.MULTILINE)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert rows[0] == ["", "recovered, %", "retained, %", "harmonic mean, %", "OOD, %", "ID, %"]
    assert [row[0] for row in rows[2:]] == made.recipes()
    (pair, *_) = filter(None, made.recoveries)
    assert {row[0] for row in rows[2:]} == {each.recipe.label for each in pair.checkpoints}
    means = {row[0]: float(row[3].split()[0]) for row in rows[2:]}
    kinds = [label.split(",")[0].split()[0] for label in means]
    assert kinds == sorted(kinds, key=kinds.index)  # those of one kind stand together
    for kind in kinds:
        own = [means[label] for label, each in zip(means, kinds, strict=True) if each == kind]
        assert own == sorted(own, reverse=True)
    first = [
        means[label]
        for label, kind in zip(means, kinds, strict=True)
        if kinds.index(kind) == [*means].index(label)
    ]
    assert first == sorted(first, reverse=True)
    of_id = fmean(
        each.id.share for each in (made.recovered(i, rows[2][0]) for i in range(3)) if each and each.id
    )
    assert rows[2][5].startswith(f"{100 * of_id:.1f} ")
    assert "Every recipe" not in markdown(found(3, recipes={}))


def test_the_sentence_on_the_best_recipe_is_generated():
    made = found(3)
    best = best_of(made, made.recipes())
    assert best is not None
    recovered, harmonic = best.recovered.mean, best.harmonic.mean
    assert recovered is not None
    assert harmonic is not None
    text = recipes.best_sentence(made)
    assert text.startswith(
        "Best of 8 recipes: interpolate 0.5. Each half of the deals measures the recipe that is best on the "
        f"other half in the other seeds. It recovers {100 * recovered:.1f} % ["
    )
    assert f"harmonic mean {100 * harmonic:.1f} % [" in text
    assert "the best of 5 spectral recipes has " in text
    assert "the best of 3 baselines " in text
    assert text in section(markdown(made), "Which recipe is best").replace("\\", "")


def test_a_reproduction_without_a_loss_says_that_nothing_can_be_told():
    text = recipes.best_sentence(found(3, ood={**OOD, 400: 0.5}))
    assert text == "Which recipe is best cannot be told: these deals do not show a loss on OOD in every seed."
    assert recipes.best(found(3, recipes={})) == []


def test_a_lucky_best_is_said_to_be_chance():
    flat = {name: (recipe, 0.045, 0.6) for name, (recipe, _, _) in RECIPES.items()}
    assert "of what SFT lost on OOD (chance alone can explain that)" in recipes.best_sentence(
        found(3, recipes=flat)
    )


def test_each_kind_of_recipe_has_a_row():
    text = section(markdown(found(3)), "Which recipe is best")
    header, *rows = rows_of(re.findall(r"((?:^\|.*\|\n?)+)", text, re.MULTILINE)[0])
    assert header == ["", "setting", "of", "recovered, %", "retained, %", "harmonic mean, %"]
    assert {row[0]: row[2] for row in rows} == {
        "interpolate": "1", "reset": "1", "directions": "4", "values": "1", "paper-scripts": "1"
    }  # fmt: skip
    means = [float(row[5].split()[0]) for row in rows]
    assert means == sorted(means, reverse=True)


def test_the_four_cells_and_the_memorised_rule_stand_for_every_checkpoint():
    text = section(markdown(found(3)), "What this benchmark adds")
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
    assert re.search(r"^\| best OOD +\| +\| ", section(text, "What this benchmark adds"), re.MULTILINE)


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
    assert len(beside.get_xticklabels()) == 7
    assert beside_id.get_ylim() == of_id.get_ylim()


def test_the_contrast_shows_experiments_side_by_side_on_one_scale(plots):
    made = found(3), found(1)
    assert figures.contrast_figures(made[:1]) == {}
    assert figures.contrast_figures(made) == {}  # one seed has nothing to show beside several
    assert list(figures.contrast_figures([made[0], *made])) == ["contrast.svg"]
    left, regained, right, _ = plots.contrast_figure(made).axes
    assert (len(left.lines), len(right.lines)) == (3 * 4, 3)  # seeds and mean of three hand sets; one seed
    assert left.get_ylim() == right.get_ylim()
    names = [label.get_text() for label in regained.get_xticklabels()]
    assert names == ["PPO", "directions", "interpolation"]
    final = made[0].get(made[0].seeds[0].final, "ood")
    assert (400, 100 * final.k / final.n) in [
        tuple(point) for line in left.lines for point in line.get_xydata().tolist()
    ]


def without_a_gain():
    """A model that SFT makes no better on ID, and that a command of its own has scored on held-out numbers."""
    manifest, records = world(3, of_id=ID | {10: 0.9, 400: 0.7})
    kept = []
    for record in records:
        if record.hand_set != "id_heldout":
            kept.append(record)
        elif record.step in (None, 10, 400):
            kept.append(replace(record, stage=None))
    return reproduction_of(manifest_of(manifest), kept)


def test_where_sft_gains_nothing_on_id_the_recovered_share_picks_and_nothing_is_called_unmeasured(plots):
    made = without_a_gain()
    text = markdown(made)
    sentence = recipes.best_sentence(made)
    assert "so the recovered share picks. Likewise, the best of" in sentence
    shares = re.findall(r"([\d.]+) % \[([−\d.]+), ([−\d.]+)\]", sentence)
    assert len(shares) == 3
    for mean, low, high in shares:
        assert float(low.replace("−", "-")) < float(mean) < float(high)
    (row, *_) = rows_of(section(text, "Every recipe").split("\n\n")[2])[1:]
    assert row[2:4] == ["not defined", ""]
    assert "not measured" not in section(text, "Which recipe is best") + section(text, "Every recipe")
    assert len(plots.recoveries_figure(made).axes) == 2
    assert len(plots.recoveries_figure(found(3)).axes) == 3


def test_hand_sets_that_sft_did_not_score_are_points_in_the_contrast(plots):
    left, _, right, _ = plots.contrast_figure([found(3), without_a_gain()]).axes
    (points,) = (line for line in right.lines if line.get_marker() == "o")
    assert list(points.get_xdata()) == [0, 10, 400]
    assert not [line for line in left.lines if line.get_marker() == "o"]


def test_nothing_in_the_figures_lies_outside_its_panel(plots):
    for seeds in (1, 3):
        made = found(seeds)
        for draw in (
            plots.overview_figure,
            plots.drift_figure,
            plots.recoveries_figure,
            plots.recipes_front_figure,
        ):
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
    assert list(figures.reproduction_figures("nano", made)) == FIGURES[:1]
    figure = plots.overview_figure(made)
    assert len(figure.axes) == 3
    assert "PPO" not in "".join(text.get_text() for text in figure.legends[0].get_texts())
    assert "PPO" not in markdown(made).split("\n\n")[1]


# -- building --------------------------------------------------------------------------------------------


def test_the_same_experiment_gives_the_same_bytes(plots, tmp_path):
    manifest, records = world(2, n=40)
    for each, name in ((records, "a"), (records[::-1], "b")):
        add_records(tmp_path / name / "reproduction" / "nano" / "seeds.jsonl", each)
        (tmp_path / name / "reproduction" / "nano" / "manifest.json").write_text(json.dumps(manifest))
        assert build(tmp_path / name).changed == [
            "nano.md",
            "README.md",
            *(f"figures/{name}" for name in FIGURES),
        ]
    for name in ("nano.md", *(f"figures/{name}" for name in FIGURES)):
        first, second = (tmp_path / each / "generated" / name for each in "ab")
        assert first.read_bytes() == second.read_bytes()


def test_build_writes_the_report_where_there_is_a_manifest_and_check_compares_it(
    tmp_path, capsys, monkeypatch
):
    def write_figures(plots):  # the real ones take seconds
        for path in plots:
            path.parent.mkdir(exist_ok=True)
            path.write_text(path.name)

    monkeypatch.setattr(figures, "write_figures", write_figures)
    monkeypatch.setattr(figures, "missing_package", lambda: None)

    def leaderboard(word):
        return main(["leaderboard", word, "--dir", str(tmp_path)])

    manifest, records = world(1, n=40)
    add_records(tmp_path / "records" / "a.jsonl", records)
    build(tmp_path)
    made = tmp_path / "generated"
    assert not (made / "nano.md").exists()
    path = tmp_path / "reproduction" / "nano" / "manifest.json"
    add_records(path.parent / "records.jsonl", records)
    path.write_text(json.dumps(manifest))
    names = ["README.md", "nano.md", *(f"figures/{name}" for name in FIGURES)]
    assert sorted(differing(tmp_path)) == sorted(names)
    assert sorted(build(tmp_path).changed) == sorted(names)
    assert build(tmp_path).changed == []
    assert leaderboard("check") == 0
    assert "(nano.md)" in (made / "README.md").read_text("utf-8")

    (made / "nano.md").write_text("edited")
    (made / "figures" / FIGURES[0]).unlink()
    (made / "figures" / "old_overview.svg").write_text("left over")
    assert sorted(differing(tmp_path)) == sorted(
        ["nano.md", f"figures/{FIGURES[0]}", "figures/old_overview.svg"]
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
    assert not {p.name for p in (made / "figures").iterdir()} & set(FIGURES)
    assert not (made / "nano.md").exists()


def test_the_trainings_below_a_reproduction_stand_in_its_report(tmp_path):
    for folder, ood in (("nano", OOD), ("nano/trainings/flat", OOD | {400: 0.34})):
        manifest, records = world(2, n=40, ood=ood)
        add_records(tmp_path / "reproduction" / folder / "records.jsonl", records)
        (tmp_path / "reproduction" / folder / "manifest.json").write_text(json.dumps(manifest))
    files = texts(contents(tmp_path))
    assert b"- **flat** removes the forgetting" in files["nano.md"]
    assert "flat.md" not in files


def test_a_reproduction_must_not_take_the_name_of_another_file(tmp_path, capsys):
    manifest, records = world(1, n=8)
    path = tmp_path / "reproduction" / "README" / "manifest.json"
    add_records(path.parent / "records.jsonl", records)
    path.write_text(json.dumps(manifest))
    assert main(["leaderboard", "build", "--dir", str(tmp_path)]) == 2
    assert "README.md is another's; rename it" in capsys.readouterr().err


def test_the_limits_say_whether_the_base_works_hands_out():
    manifest, records = world(of_id=ID | {0: 0.4})
    others = [r for r in records if (r.model, r.hand_set) != ("nano", "id_heldout")]
    for held_out, words in (
        (0.3, "it wins 30.0 % of the held-out numbers"),
        (0.1, "not because it searches"),
    ):
        made = others + scored("nano", {"id_heldout": held_out}, stage="base")
        assert words in markdown(reproduction_of(manifest_of(manifest), made))
