"""A line that is damaged is refused by file and number; lines from before there were checksums are read."""

import json
import random
import zlib

import pytest

from points24.harness.records.checksum import line_of, verified
from points24.harness.records.record import record_of
from points24.harness.records.store import add_records, read_records
from points24.tasks.errors import InputError
from tests.leaderboards.conftest import record, row


def test_the_checksum_is_the_crc_32_of_the_line_without_it():
    line, crc = line_of({"k": 1, "who": "é"}), zlib.crc32('{"k": 1, "who": "é"}'.encode())
    assert line == f'{{"k": 1, "who": "é", "checksum": "{crc:08x}"}}'
    assert verified(json.loads(line)) == {"k": 1, "who": "é"}


def test_a_line_without_a_checksum_is_read_and_keeps_its_bytes(tmp_path):
    path = tmp_path / "mine.jsonl"
    old = json.dumps(row()) + "\n"
    path.write_text(old)
    add_records(path, [record("1010")])
    assert path.read_text().startswith(old)
    assert path.read_text().count("checksum") == 1
    assert len(read_records(tmp_path)) == 2


def test_the_same_content_written_otherwise_is_the_same_line():
    line = record(parent="é").line()
    assert record_of(json.loads(json.dumps(json.loads(line), indent=2))) == record(parent="é")


def test_no_flipped_bit_gives_another_record():
    first = record(parent="a-base", recipe={"rank": 3, "rate": 1e-5}, weights_sha256="a" * 64)
    line = first.line().encode()
    bits = random.Random(0).sample(range(8 * len(line)), 2000)
    for bit in bits:
        flipped = bytearray(line)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            found = record_of(json.loads(flipped.decode()))
        except ValueError:  # no UTF-8, no JSON, or an InputError
            continue
        assert found == first  # 1e-05 as 1E-05


def test_a_mismatch_names_file_and_line(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{record().line()}\n{record('1010').line().replace('a-model', 'b-model')}\n")
    with pytest.raises(InputError) as refused:
        read_records(tmp_path)
    assert str(refused.value).startswith(f"{path}, line 2: checksum: expected ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", [None, 5, [], "0" * 10_000])
def test_a_checksum_of_another_type_is_one_short_line(value):
    with pytest.raises(InputError, match=r"checksum: expected [0-9a-f]{8} ") as refused:
        record_of(row() | {"checksum": value})
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("changes", [{"model": "a\ud800"}, {"recipe": {"name": ["\udfff"]}}])
def test_half_of_a_surrogate_pair_is_refused_where_it_is_read(changes, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(row() | changes) + "\n")
    with pytest.raises(InputError, match=r"mine\.jsonl, line 1: half of a surrogate pair"):
        read_records(tmp_path)


def test_brackets_a_hundred_thousand_deep_are_one_line(tmp_path):
    (tmp_path / "mine.jsonl").write_text(f"{record().line()}\n{'[' * 100_000}\n")
    with pytest.raises(InputError, match=r"mine\.jsonl, line 2: ") as refused:
        read_records(tmp_path)
    assert len(str(refused.value)) < 300
