"""`points24 show` and the summary that scoring ends with: every figure by hand, no line over 100 columns."""

from argparse import Namespace

import pytest

from points24.harness.analysis.formats import WIDTH
from points24.harness.analysis.score_table import MOST_ROWS, summary
from points24.harness.records.store import add_records
from points24.leaderboards.show import show
from tests.leaderboards.conftest import record


def shown(capsys, *folders):
    status = show.run(Namespace(folders=list(folders)))
    out, err = capsys.readouterr()
    assert all(len(line) <= WIDTH for line in out.splitlines())
    return status, [line.split() for line in out.splitlines()], err


def test_lm_evals_output_becomes_a_row_per_task_and_filter_with_every_verdict(outputs, capsys):
    status, lines, _ = shown(capsys, outputs)
    assert status == 0
    assert ["solver", "(player,", "points24)"] in lines
    assert ["ood", "strict", "40", "100.0", "91.2", "–", "100.0", *["0.0"] * 6] in lines
    wrong = [line for line in lines if line[:4] == ["ood", "strict", "40", "0.0"]]
    assert len(wrong) == 1  # the memoriser's
    rule, value, numbers, illegal, none, cut = map(float, wrong[0][7:])
    assert rule > 0
    assert rule + numbers == pytest.approx(100)
    assert value == illegal == none == cut == 0


def test_records_are_shown_likewise(tmp_path, capsys):
    verdicts = {"correct": 1, "wrong_rule": 2, "illegal": 1}
    add_records(tmp_path / "records" / "a.jsonl", [record("1000", verdicts=verdicts, truncated=1)])
    status, lines, _ = shown(capsys, tmp_path)
    assert status == 0
    assert lines[-1][:4] == ["ood", "strict", "4", "25.0"]
    assert lines[-1][-6:] == ["50.0", "0.0", "0.0", "25.0", "0.0", "25.0"]


def test_what_cannot_be_read_is_one_line(tmp_path, outputs, capsys):
    status, lines, err = shown(capsys, tmp_path / "nowhere")
    assert (status, lines, err.count("\n")) == (2, [], 1)
    assert "nowhere: no such folder" in err
    status, lines, err = shown(capsys, tmp_path / "nowhere", outputs)
    assert (status, bool(lines), err.count("\n")) == (1, True, 1)


def test_a_summary_of_many_is_sorted_short_and_narrow():
    records = [
        record(
            "1" * k + "0" * (30 - k), model=f"directions-top-{k}pct-layers-all_of_a_in_b", stage="recovered"
        )
        for k in range(25)
    ]
    title, _, header, _, *rows, more = summary(records).splitlines()
    assert (title, header.split()) == ("accuracy in %, strict-match", ["checkpoint", "ood"])
    assert len(rows) == MOST_ROWS
    assert rows[0].split() == ["directions-top-24pct", "80.0"]
    assert rows[-1].split() == ["directions-top-5pct", "16.7"]
    assert more == "… and 5 more"


def test_a_summary_of_one_checkpoint_is_all_of_it():
    assert "wrong" in summary([record()])


def test_long_names_keep_both_ends():
    name = "organisation/" + "x" * 100 + "/checkpoint-300"
    (row,) = [line for line in summary([record(model=name), record(model="b")]).splitlines() if "…" in line]
    assert row.startswith("organisation/xx")
    assert "checkpoint-300" in row
    assert len(row) <= WIDTH
