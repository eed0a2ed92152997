import json
from pathlib import Path

import pytest

from points24.harness.files import (
    discard_partial,
    disk_error,
    new_folder,
    partial_of,
    replacing,
    replacing_folder,
    write_json,
    write_text,
)
from points24.tasks.errors import InputError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fail_in(block, action):
    with block as partial:
        action(partial)
        raise RuntimeError


def test_a_file_is_replaced_as_a_whole(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    write_text(tmp_path / "a.txt", "new\n")
    assert (tmp_path / "a.txt").read_bytes() == b"new\n"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("shared", [False, True])
def test_after_an_error_the_old_file_is_as_it_was(tmp_path, shared):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        fail_in(replacing(path, shared=shared), Path.touch)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_what_a_killed_run_left_of_a_file_is_no_obstacle(tmp_path):
    partial_of(tmp_path / "link").symlink_to("nowhere")
    with replacing(tmp_path / "link") as partial:
        partial.symlink_to("somewhere")
    assert (tmp_path / "link").readlink().name == "somewhere"
    assert names(tmp_path) == ["link"]


def test_a_value_is_written_as_json(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1]}, indent=1)
    assert (tmp_path / "a.json").read_text() == '{\n "a": [\n  1\n ]\n}\n'
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1]}


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path):
    out = tmp_path / "deep" / "out"
    with pytest.raises(RuntimeError):
        fail_in(new_folder(out), lambda partial: (partial / "a").touch())
    assert names(out.parent) == []
    with new_folder(out) as partial:
        (partial / "a").write_text("whole")
        assert not out.exists()
    assert names(out.parent) == ["out"]
    assert names(out) == ["a"]


def test_a_new_folder_replaces_nothing(tmp_path):
    (tmp_path / "out").mkdir()
    with (
        pytest.raises(InputError, match=r"out exists; choose another output folder"),
        new_folder(tmp_path / "out"),
    ):
        pass


def test_a_new_folder_waits_for_what_a_killed_run_left_to_be_removed(tmp_path):
    out = tmp_path / "out"
    partial_of(out).mkdir()
    with pytest.raises(InputError, match=r"out\.partial exists"), new_folder(out):
        pass
    discard_partial(out)
    with new_folder(out):
        pass
    assert names(tmp_path) == ["out"]


def test_a_folder_is_replaced_with_what_a_killed_run_left_of_it(tmp_path):
    out = tmp_path / "checkpoint-1"
    with pytest.raises(RuntimeError):
        fail_in(replacing_folder(out), lambda partial: (partial / "left").touch())
    assert list(tmp_path.glob("checkpoint-*")) == []
    for name in ("old", "new"):
        with replacing_folder(out) as partial:
            (partial / name).touch()
    assert names(out) == ["new"]
    assert names(tmp_path) == ["checkpoint-1"]


def test_torchs_words_for_a_failed_write_are_an_error_of_the_disk():
    for said in (
        "[enforce fail at inline_container.cc:672] . unexpected pos 136128 vs 136020",
        "basic_ios::clear: iostream error",
    ):
        assert disk_error(RuntimeError(said)) == said
    assert disk_error(RuntimeError("something else")) is None
