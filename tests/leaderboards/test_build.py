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

from points24.harness.cli import main
from points24.harness.records.store import add_records, read_records
from points24.leaderboards import commands, compare
from points24.leaderboards.build import build, differing, generated
from tests.leaderboards.conftest import record, reported

COMMITTED = Path(commands.__file__).resolve().parent


def leaderboard(*words) -> int:
    return main(["leaderboard", *map(str, words)])


@pytest.fixture
def home(tmp_path) -> Path:
    """A leaderboards folder with three measured and one reported record, built."""
    base, tuned = record("110000", model="base"), record("111100", model="tuned", parent="base")
    add_records(
        tmp_path / "records" / "a.jsonl", [base, tuned, record(model="a|b<i>&_$\\"), reported(21, 234)]
    )
    build(tmp_path / "records", tmp_path)
    return tmp_path


def test_the_committed_tables_are_what_the_committed_records_give():
    assert differing(COMMITTED / "records", COMMITTED) == []


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
        "time.time = lambda: 4e9; from points24.harness.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    for number, (zone, language) in enumerate([("Asia/Tokyo", "C"), ("America/Lima", "C.UTF-8")]):
        environment = os.environ | {"TZ": zone, "LC_ALL": language, "PYTHONHASHSEED": str(number)}
        command = [sys.executable, "-c", program, "leaderboard", "build", "--dir", str(tmp_path)]
        shutil.rmtree(tmp_path / "tables", ignore_errors=True)
        subprocess.run(command, env=environment, check=True, capture_output=True)
        for name, content in generated(COMMITTED / "records").items():
            assert (tmp_path / name).read_bytes() == content


def test_building_again_changes_nothing(home):
    assert build(home / "records", home) == []


def test_check_fails_on_an_edited_a_missing_and_a_left_over_table(home, capsys):
    assert leaderboard("check", "--dir", home) == 0
    (home / "README.md").write_text("edited")
    gone = next((home / "tables").glob("*.csv"))
    gone.unlink()
    (home / "tables" / "old.csv").write_text("left over")
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


def test_names_cannot_break_out_of_markdown_html_or_latex(home):
    assert "a\\|b\\<i\\>&\\_$\\\\" in (home / "README.md").read_text()
    assert "a|b&lt;i&gt;&amp;_$\\" in (home / "index.html").read_text()
    texts = [path.read_text() for path in (home / "tables").glob("*.tex")]
    assert any(r"a|b$<$i$>$\&\_\$\textbackslash{}" in text for text in texts)


def test_the_csv_has_a_row_per_record_in_full_precision(home):
    rows = [row for path in (home / "tables").glob("points24*") if path.suffix == ".csv"
            for row in csv.DictReader(path.open())]  # fmt: skip
    tuned = next(row for row in rows if row["model"] == "tuned")
    assert (tuned["k"], tuned["n"], tuned["acc"]) == ("4", "6", "0.666667")
    assert (tuned["parent_diff"], tuned["parent_p"]) == ("0.333333", "0.5")


def test_the_page_names_no_address_to_load_from(home):
    page = (home / "index.html").read_text()
    assert "default-src 'none'" in page
    assert "src=" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_what_a_killed_build_left_is_cleared_away(home):
    """Also where the file itself has to be written again, or has nothing left to change."""
    table = next((home / "tables").glob("*.csv"))
    table.write_text("old")
    for path in (table, home / "index.html"):
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
    [("tuned", "nobody", "no record of 'nobody'; allowed"), ("tuned", "theirs", "share no protocol")],
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
