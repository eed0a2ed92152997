"""What a record may hold, and what reading a folder of them refuses."""

import json
import re
import subprocess
import sys

import pytest

from points24.harness.analysis.comparison import difference, terms_of
from points24.harness.records.record import record_of
from points24.harness.records.store import add_records, read_records
from points24.leaderboards.compare import pairs
from points24.tasks.errors import InputError
from tests.leaderboards.conftest import record, reported, row


def test_a_record_survives_its_line():
    first = record(parent="a-base", recipe={"rank": 3})
    assert record_of(json.loads(first.line())) == first
    assert "\n" not in first.line()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"k": 5}, "k: expected 0 to n = 4, found 5"),
        ({"k": -1}, "k: expected at least 0, found -1"),
        ({"k": 1}, "outcomes: expected k = 1 ones, found 2"),
        ({"n": 5}, "outcomes: expected n = 5 characters, found 4"),
        ({"outcomes": "11002"[1:]}, "outcomes: expected 0 and 1 alone, found '1002'"),
        ({"n": 0, "k": 0, "outcomes": ""}, "n: expected at least 1, found 0"),
        (
            {"hand_set_digest": "0" * 64},
            f"hand_set_digest: expected {row()['hand_set_digest'][:12]}… for ood under rule ood",
        ),
        ({"hand_set_digest": "nonsense"}, "hand_set_digest: expected 64 hexadecimal digits"),
        ({"weights_sha256": "F" * 64}, "weights_sha256: expected 64 hexadecimal digits"),
        ({"accuracy": 1}, "accuracy: unknown key; allowed: schema, status, model"),
        ({"schema": 4}, "schema: expected 1 or 2 or 3, found 4"),
        ({"status": "guessed"}, "status: expected measured or reported, found 'guessed'"),
        (
            {"filter": "exact"},
            "filter: expected strict-match or flexible-extract or paper-match, found 'exact'",
        ),
        ({"verdicts": {"correct": 2, "wrong_value": 1}}, "verdicts: expected a sum of n = 4, found 3"),
        ({"verdicts": {"correct": 1, "illegal": 3}}, "verdicts: expected k = 2 correct, found 1"),
        ({"verdicts": {"correct": 2, "lucky": 2}}, "verdicts.lucky: expected correct or wrong_rule"),
        ({"truncated": 5}, "truncated: expected 0 to n = 4, found 5"),
        ({"k": "2"}, "k: expected a valid integer, found '2'"),
        ({"k": True}, "k: expected a valid integer, found True"),
        ({"date": "yesterday"}, "date: expected UTC such as"),
        ({"outcomes": None}, "outcomes: missing from a measured record"),
        ({"rule": "odd"}, "unknown rule 'odd'"),
        ({"attempts": 0}, "attempts: expected at least 1, found 0"),
        ({"model": "two\nlines"}, "model: expected text in one line"),
        ({"outcomes": ""}, "outcomes: expected 0 and 1 alone, found ''"),
        ({"schema": True}, "schema: expected a valid integer, found True"),
        ({"recipe": []}, "recipe: expected a valid dictionary, found []"),
    ],
)
def test_what_does_not_hold_together_is_refused(changes, why):
    with pytest.raises(InputError) as error:
        record_of(row() | changes)
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_a_record_from_before_there_were_protocols_is_of_points24_and_keeps_its_key():
    old = {k: v for k, v in row().items() if not k.startswith("protocol")} | {"schema": 1}
    assert record_of(old).protocol == "points24"
    assert record_of(old).key == record().key
    assert terms_of(record_of(old)) == terms_of(record())


def test_records_of_two_protocols_never_meet():
    ours, paper = record(), record(protocol="paper", protocol_digest="0" * 64, model="other")
    assert len({r.key for r in (ours, paper, record(protocol="paper", protocol_digest="1" * 64))}) == 3
    assert len({terms_of(r).slug for r in (ours, paper)}) == 2
    with pytest.raises(ValueError, match="records of different protocols"):
        difference(ours, paper)
    with pytest.raises(InputError) as error:
        pairs([ours, paper], "a-model", "other")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["first_outcomes", "float_outcomes", "float_first_outcomes"])
def test_other_outcomes_are_one_per_deal(name):
    assert getattr(record(**{name: "1001"}), name) == "1001"
    with pytest.raises(InputError, match=f"{name}: expected n = 4 characters, found 3"):
        record(**{name: "100"})


def test_a_measured_record_names_its_protocol():
    with pytest.raises(InputError, match="protocol_digest: missing from a measured record"):
        record(protocol_digest=None)


def test_a_missing_field_is_named():
    with pytest.raises(InputError, match="model: missing"):
        record_of({key: value for key, value in row().items() if key != "model"})


def test_more_deals_than_the_hand_set_has_are_refused():
    with pytest.raises(InputError, match="hand set ood has 796 deals, found 797"):
        record("1" * 797)


def test_a_reported_figure_needs_a_source_and_has_no_outcomes():
    with pytest.raises(InputError, match="source"):
        reported(1, 2, source=None)
    with pytest.raises(InputError, match="outcomes"):
        reported(1, 2, outcomes="10")


def test_an_older_task_version_need_not_match_todays_digest():
    assert record(task_version="0.9", hand_set_digest="0" * 64).task_version == "0.9"


def test_the_key_is_of_the_run_and_not_of_what_is_said_about_it():
    assert record(parent="x", stage="RL", step=7, weights_sha256="0" * 64).key == record().key
    assert record("1010").key != record().key
    assert record(date="2026-01-31T12:00:01Z").key != record().key
    assert reported(1, 9, stage="RL").key != reported(1, 9, stage="SFT").key


def test_a_bad_line_is_named_by_file_and_number(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(record().line() + "\n" + json.dumps(row() | {"k": 9}) + "\n")
    with pytest.raises(InputError) as error:
        read_records(tmp_path)
    assert str(error.value).startswith(f"{path}, line 2: k: expected 0 to n = 4, found 9")


@pytest.mark.parametrize("text", [b'{"schema": 1, "sta', b"[]", b"\xff", b"null", b"\n"])
def test_a_line_that_is_no_record_is_named(tmp_path, text):
    (tmp_path / "mine.jsonl").write_bytes(record().line().encode() + b"\n" + text + b"\n")
    with pytest.raises(InputError, match=r"mine\.jsonl, line 2: "):
        read_records(tmp_path)


def test_the_same_record_in_two_files_is_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(record().line() + "\n")
    with pytest.raises(InputError, match=r"b\.jsonl, line 1: the same record as .*a\.jsonl, line 1"):
        read_records(tmp_path)


def test_adding_twice_adds_once_and_keeps_what_was_there(tmp_path):
    path = tmp_path / "mine.jsonl"
    assert add_records(path, [record(), record()]) == [record()]
    before = path.read_bytes()
    assert add_records(path, [record(stage="RL")]) == []
    assert path.read_bytes() == before
    add_records(path, [record("1010")])
    assert path.read_bytes().startswith(before)
    assert len(read_records(tmp_path)) == 2


def test_a_last_line_without_its_break_is_completed(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(record().line())
    add_records(path, [record("1010")])
    assert len(read_records(tmp_path)) == 2


@pytest.mark.parametrize(
    ("writers", "own", "at_once"),
    [(3, 8, 1), pytest.param(8, 10_000, 1000, marks=pytest.mark.slow)],
    ids=["3 of 8", "8 of 10,000"],
)
def test_several_writers_at_once_lose_nothing_and_repeat_nothing(tmp_path, writers, own, at_once):
    """Each adds records of its own, and some that all of them add."""
    program = (
        "import sys; from pathlib import Path; from points24.harness.records.store import add_records; "
        "from tests.leaderboards.conftest import record; path, name = Path(sys.argv[1]), sys.argv[2]\n"
        f"for i in range(0, {own}, {at_once}):\n"
        "    shared = record(format(i // 1000 % 16, '04b'), model=f'shared {i}')\n"
        f"    add_records(path, [shared, *(record(model=f'{{name}} {{n}}') for n in range(i, i + {at_once}))])"
    )
    file = str(tmp_path / "mine.jsonl")
    started = [subprocess.Popen([sys.executable, "-c", program, file, f"m{i}"]) for i in range(writers)]
    assert [writer.wait() for writer in started] == [0] * writers
    found = [each.model for each in read_records(tmp_path)]
    shared = {f"shared {i}" for i in range(0, own, at_once)}
    assert set(found) == shared | {f"m{i} {n}" for i in range(writers) for n in range(own)}
    assert len(found) == len(shared) + writers * own


def test_a_file_that_was_cut_off_anywhere_is_refused_or_has_its_first_records(tmp_path):
    file = tmp_path / "mine.jsonl"
    added = add_records(file, [record(), record("1010")])
    first, second = content = file.read_bytes().splitlines(keepends=True)
    whole = {0: 0, len(first) - 1: 1, len(first): 1, len(first + second) - 1: 2}
    for kept in range(len(first + second)):
        file.write_bytes(b"".join(content)[:kept])
        if kept in whole:
            assert read_records(tmp_path) == added[: whole[kept]]
        else:
            with pytest.raises(InputError, match=re.escape(str(file))):
                read_records(tmp_path)
