"""The generated files: a function of the records, byte for byte."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from points24 import leaderboards
from points24.harness.cli import main
from points24.harness.records.store import add_records, read_records
from points24.leaderboards import compare
from points24.leaderboards.build import build, contents, differing, texts
from tests.leaderboards.conftest import record, reported

COMMITTED = Path(leaderboards.__file__).resolve().parent


def leaderboard(*words) -> int:
    return main(["leaderboard", *map(str, words)])


@pytest.fixture
def home(tmp_path) -> Path:
    """A leaderboard folder with three measured and one reported record, built."""
    base, tuned = record("110000", model="base"), record("111100", model="tuned", parent="base")
    add_records(
        tmp_path / "records" / "a.jsonl", [base, tuned, record(model="a|b<i>&_$\\"), reported(21, 234)]
    )
    build(tmp_path)
    return tmp_path


@pytest.fixture
def made(home) -> Path:
    """What was built in it."""
    return home / "generated"


def test_the_committed_files_are_what_the_committed_records_give():
    assert differing(COMMITTED) == []


def test_the_committed_records_are_the_nano_base_model_and_the_papers_rows():
    records = read_records(COMMITTED / "records")
    measured = [r for r in records if r.status == "measured"]
    assert {(r.model, r.task, r.attempts) for r in measured} >= {
        ("nano-base", "points24_id", 1),
        ("nano-base", "points24_ood", 1),
    }
    assert {r.n for r in records if r.status == "reported"} == {234}
    assert sum(r.status == "reported" for r in records) == 13


def test_another_day_locale_and_time_zone_give_the_same_bytes(tmp_path):
    for folder in ("records", "reproduction"):
        shutil.copytree(COMMITTED / folder, tmp_path / folder)
    program = (
        "import locale, sys, time; locale.setlocale(locale.LC_ALL, ''); "
        "time.time = lambda: 4e9; sys.modules['matplotlib'] = None; from points24.harness.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    for number, (zone, language) in enumerate([("Asia/Tokyo", "C"), ("America/Lima", "C.UTF-8")]):
        environment = os.environ | {"TZ": zone, "LC_ALL": language, "PYTHONHASHSEED": str(number)}
        command = [sys.executable, "-c", program, "leaderboard", "build", "--dir", str(tmp_path)]
        shutil.rmtree(tmp_path / "generated", ignore_errors=True)
        subprocess.run(command, env=environment, check=True, capture_output=True)
        for name, content in texts(contents(COMMITTED)).items():
            assert (tmp_path / "generated" / name).read_bytes() == content


def test_building_again_changes_nothing(home):
    assert build(home).changed == []


def test_everything_built_lies_in_generated(home):
    assert sorted(p.name for p in home.iterdir()) == ["generated", "records"]


def test_the_folder_is_leaderboard_below_the_working_directory(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert leaderboard("build") == 2
    assert "leaderboard: no records; points24 leaderboard ingest DIR makes them" in capsys.readouterr().err
    add_records(tmp_path / "leaderboard" / "records" / "a.jsonl", [record()])
    assert leaderboard("build") == 0
    assert leaderboard("check") == 0
    assert (tmp_path / "leaderboard" / "generated" / "README.md").is_file()


def test_check_fails_on_an_edited_a_missing_and_a_left_over_table(home, made, capsys):
    assert leaderboard("check", "--dir", home) == 0
    (made / "README.md").write_text("edited")
    gone = next((made / "tables").glob("*.csv"))
    gone.unlink()
    (made / "tables" / "old.csv").write_text("left over")
    assert leaderboard("check", "--dir", home) == 3
    error = capsys.readouterr().err
    assert "README.md" in error
    assert gone.name in error
    assert "old.csv" in error
    assert leaderboard("build", "--dir", home) == 0
    assert leaderboard("check", "--dir", home) == 0


def test_no_records_are_bad_input(tmp_path, capsys):
    assert leaderboard("build", "--dir", tmp_path) == 2
    (tmp_path / "records").mkdir()
    assert leaderboard("build", "--dir", tmp_path) == 2
    assert "points24 leaderboard ingest" in capsys.readouterr().err


def test_names_cannot_break_out_of_markdown_html_or_latex(made):
    assert "a\\|b\\<i\\>&\\_$\\\\" in (made / "README.md").read_text()
    assert "a|b&lt;i&gt;&amp;_$\\" in (made / "index.html").read_text()
    latex = [path.read_text() for path in (made / "tables").glob("*.tex")]
    assert any(r"a|b\ensuremath{<}i\ensuremath{>}\&\_\$\textbackslash{}" in text for text in latex)


def test_a_task_that_is_not_installed_brings_no_markup_and_no_formula(tmp_path):
    made = record(
        model="=HYPERLINK(1)", task="<script>x</script>", hand_set="<img onerror=x>", parent="@a",
        hand_set_digest="0" * 64,
    )  # fmt: skip
    long = record(model="-1+1", task="t" * 400, hand_set_digest="0" * 64)
    add_records(tmp_path / "records" / "a.jsonl", [made, long])
    build(tmp_path)
    text = (tmp_path / "generated" / "README.md").read_text()
    assert not re.search(r"(?<!\\)<(script|img)", text)
    rows = [row for path in (tmp_path / "generated" / "tables").glob("*.csv")
            for row in csv.DictReader(path.open())]  # fmt: skip
    assert sorted((row["model"], row["parent"]) for row in rows) == [("'-1+1", ""), ("'=HYPERLINK(1)", "'@a")]


def test_the_same_outcomes_have_the_same_standing(tmp_path):
    same = [record(command=f"lm_eval --batch_size {n}", date=f"2026-01-0{n}T00:00:00Z") for n in (1, 2)]
    add_records(tmp_path / "records" / "a.jsonl", [*same, record("0000", model="other")])
    build(tmp_path)
    (table,) = (tmp_path / "generated" / "tables").glob("*.csv")
    assert [row["standing"] for row in csv.DictReader(table.open())] == ["best", "best", "tied"]


def test_the_readme_shows_final_checkpoints_in_five_columns(tmp_path):
    of = [
        record("1" * step + "0" * (4 - step), model=f"run/checkpoint-{step}", step=step) for step in (1, 2, 3)
    ]
    add_records(tmp_path / "records" / "a.jsonl", [*of, record(model="base"), reported(21, 234)])
    build(tmp_path)
    lines = (tmp_path / "generated" / "README.md").read_text().splitlines()
    tables = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]
    assert tables[0] == ["checkpoint", "k/n", "accuracy %", "95 % interval", "vs best, points"]
    assert [row[0] for row in tables[1:3]] == ["run/checkpoint-3 step 3", "base"]
    assert [row[-1] for row in tables[3:]] == ["source", "a paper"]
    assert "All 4 checkpoints, with every comparison: [CSV](tables/points24_ood-strict" in "".join(lines)


def test_without_matplotlib_all_but_the_figures_is_built(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    steps = [record(model=f"run/checkpoint-{step}", step=step) for step in (1, 2)]
    add_records(tmp_path / "records" / "a.jsonl", steps)
    assert leaderboard("build", "--dir", tmp_path) == 0
    assert capsys.readouterr().err == (
        "points24: warning: no figures drawn: matplotlib is not installed: pip install 'points24[plots]'\n"
    )
    assert (tmp_path / "generated" / "README.md").is_file()
    assert differing(tmp_path) == ["figures/curve_run_strict_match.svg"]


def test_the_csv_has_a_row_per_record_in_full_precision(made):
    rows = [row for path in (made / "tables").glob("points24*") if path.suffix == ".csv"
            for row in csv.DictReader(path.open())]  # fmt: skip
    tuned = next(row for row in rows if row["model"] == "tuned")
    assert (tuned["k"], tuned["n"], tuned["acc"]) == ("4", "6", "0.666667")
    assert (tuned["parent_diff"], tuned["parent_p"]) == ("0.333333", "0.5")


def test_the_page_names_no_address_to_load_from(made):
    page = (made / "index.html").read_text()
    assert "default-src 'none'" in page
    assert "src=" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_what_a_killed_build_left_is_cleared_away(home, made):
    """Also where the file itself has to be written again, or has nothing left to change."""
    table = next((made / "tables").glob("*.csv"))
    table.write_text("old")
    for path in (table, made / "index.html"):
        path.with_name(path.name + ".partial").write_text("half")
    assert leaderboard("build", "--dir", home) == 0
    assert leaderboard("check", "--dir", home) == 0
    assert not list(home.rglob("*.partial"))


def test_compare_shows_the_2x2_the_flips_and_a_reading(home, capsys):
    assert leaderboard("compare", "--dir", home, "tuned", "base") == 0
    out = capsys.readouterr().out
    assert "A = tuned 4/6, B = base 2/6" in out
    assert "only A wins: " in out
    assert "only B wins" not in out
    assert "tuned wins 33.3 points more than base" in out
    assert "p = 0.50): chance alone can explain that; to see such a gap takes" in out


def test_compare_names_a_few_of_many_flipped_hands(home, capsys, monkeypatch):
    monkeypatch.setattr(compare, "SHOWN_HANDS", 1)
    assert leaderboard("compare", "--dir", home, "tuned", "base") == 0
    assert re.search(r"only A wins: [^,]+ and 1 more \(--json lists them\)", capsys.readouterr().out)


def test_compare_as_json(home, capsys):
    assert leaderboard("compare", "--dir", home, "--json", "tuned", "base") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["table"] == {"both": 2, "only_a": 2, "only_b": 0, "neither": 2}
    assert (found["p"], len(found["only_a"])) == (0.5, 2)


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        ("tuned", "nobody", "no record of 'nobody'; allowed"),
        ("tuned", "tunde", "no record of 'tunde'; did you mean tuned"),
        ("tuned", "theirs", "share no protocol"),
    ],
)
def test_compare_refuses_what_cannot_be_compared(home, a, b, why, capsys):
    assert leaderboard("compare", "--dir", home, a, b) == 2
    assert why in capsys.readouterr().err


def test_a_name_that_two_sources_use_is_refused_until_one_is_named(tmp_path, capsys):
    rows = [reported(21, 234), reported(36, 234, source="another"), reported(40, 234, model="third")]
    add_records(tmp_path / "records" / "a.jsonl", rows)
    assert leaderboard("compare", "--dir", tmp_path, "theirs", "third") == 2
    assert "'theirs' may be" in capsys.readouterr().err
    assert leaderboard("compare", "--dir", tmp_path, "another theirs", "third") == 0


def test_export_is_a_model_index_that_the_hub_reads_back(home, capsys):
    from huggingface_hub.repocard_data import model_index_to_eval_results

    assert leaderboard("export", "--dir", home, "tuned") == 0
    card = yaml.safe_load(capsys.readouterr().out)
    name, (result,) = model_index_to_eval_results(card["model-index"])
    assert (name, result.dataset_config, result.metric_type) == ("tuned", "points24_ood", "accuracy")
    assert result.metric_value == pytest.approx(4 / 6)
    assert result.metric_args is not None
    assert result.metric_args["n"] == 6
