"""The paper's protocol, reported beside measured: the counts by hand from the outcomes."""

import csv
import io

import pytest

from points24.harness.analysis.statistics import wilson
from points24.harness.records.record import SCHEMA, record_of
from points24.leaderboards.paper import READINGS, REPORTED, paper_tables
from points24.leaderboards.render import paper
from points24.leaderboards.render.page import page
from points24.leaderboards.render.readme import readme
from points24.tasks.hand_sets import hand_set
from points24.tasks.lm_eval.files import task_version
from points24.tasks.protocols.protocol import read_protocol
from tests.leaderboards.conftest import record, reported

ASKED = read_protocol("paper")
TASK = "points24_ood_paper_revise"


def measured(outcomes, first, in_floats=None, first_in_floats=None, name="paper-match", **changes):
    """A record of the first deals of the paper's OOD set, asked in its protocol."""
    k = outcomes.count("1")
    about = {
        "schema": SCHEMA, "status": "measured", "model": "ours", "task": TASK, "task_version": task_version(TASK),
        "hand_set": "ood_paper", "rule": "ood", "hand_set_digest": hand_set("ood_paper").digest,
        "template_digest": ASKED.prompt.digest, "protocol": "paper", "protocol_digest": ASKED.digest,
        "attempts": 5, "decoding": {"do_sample": False}, "engine": "hf", "filter": name, "k": k,
        "n": len(outcomes), "verdicts": {"correct": k, "illegal": len(outcomes) - k}, "truncated": 0,
        "outcomes": outcomes, "first_outcomes": first, "float_outcomes": in_floats or outcomes,
        "float_first_outcomes": first_in_floats or first, "date": "2026-11-25T12:00:00Z",
    }  # fmt: skip
    return record_of(about | changes)


def of_ours():
    return [
        measured("11100000", "11000000", "11000000", "10000000"),
        measured("00000000", "00000000", name="strict-match"),
        measured("11110000", "11000000", name="flexible-extract"),
    ]


def test_the_dialogues_are_counted_by_checker_attempts_and_filter():
    (table,) = paper_tables([*of_ours(), reported(46, 234)])
    row = next(row for row in table.rows if row.record.status == "measured")
    assert [row.counts[reading][:2] for reading in READINGS] == [
        (2, 8), (3, 8), (1, 8), (2, 8), (0, 8), (4, 8),
    ]  # fmt: skip


def test_a_reported_row_has_the_papers_own_reading_alone_with_wilsons_interval():
    (table,) = paper_tables([*of_ours(), reported(46, 234)])
    row = next(row for row in table.rows if row.record.status == "reported")
    assert row.counts == {REPORTED: (46, 234, wilson(46, 234))}
    assert f"{100 * wilson(46, 234).low:.1f}" == "15.1"  # as in the literature: 19.66 [15.1, 25.2]


def test_the_highest_by_the_papers_reading_comes_first_and_each_rule_has_its_table():
    best = measured("11111111", "11111111", model="best", date="2026-11-24T12:00:00Z")
    of_id = {"task": "points24_id_paper_revise", "hand_set": "id_paper", "rule": "id"}
    other = measured("1010", "1000", hand_set_digest=hand_set("id_paper").digest, model="of id", **of_id)
    tables = paper_tables([reported(46, 234), *of_ours(), best, other])
    assert [table.rule for table in tables] == ["id", "ood"]
    assert [row.record.model for row in tables[1].rows] == ["best", "ours", "theirs"]


def test_without_a_measured_row_there_is_no_table():
    assert paper_tables([reported(46, 234), record()]) == []


def test_of_two_scorings_the_newer_counts_and_other_words_are_another_row():
    older = measured("00000000", "00000000", date="2026-11-24T12:00:00Z")
    imported = measured("10000000", "10000000", protocol="paper-imported", protocol_digest="a" * 64)
    (table,) = paper_tables([older, *of_ours(), imported])
    assert [paper.asked(row.record) for row in table.rows] == [
        f"paper ({ASKED.digest[:12]})", "paper-imported (aaaaaaaaaaaa)",
    ]  # fmt: skip
    assert [row.counts[REPORTED].k for row in table.rows] == [2, 1]


@pytest.fixture
def tables():
    return paper_tables([*of_ours(), reported(46, 234)])


def test_markdown_shows_both_kinds_and_what_differs(tables):
    text = readme([], [], [], tables)
    assert "reported and measured" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    ours, theirs = (next(row for row in rows if name in row) for name in ("ours", "theirs"))
    assert [cell.split(" ")[0] for cell in map(str.strip, ours.split("|")[4:-1])] == [
        "25.0", "37.5", "12.5", "25.0", "0.0", "50.0",
    ]  # fmt: skip
    assert "the paper's" in theirs
    assert "a paper" in theirs
    for fact in ("own words", "imported", "float", "paper-match"):
        assert fact in text


def test_csv_has_a_line_for_every_reading(tables):
    rows = list(csv.DictReader(io.StringIO(paper.table_csv(tables[0]))))
    assert len(rows) == len(READINGS) + 1
    found = {(row["status"], row["filter"], row["checker"], row["attempts"]): row["k"] for row in rows}
    assert found["reported", "paper-match", "float", "5"] == "46"
    assert found["measured", "paper-match", "float", "1"] == "1"
    assert found["measured", "strict-match", "exact", "5"] == "0"


def test_page_and_latex_hold_the_same_figures(tables):
    whole, latex = page([], tables), paper.table_latex(tables[0])
    for figure in ("25.0", "37.5", "12.5", "50.0", "19.7"):
        assert figure in whole
        assert figure in latex
    assert 'data-status="reported"' in whole
