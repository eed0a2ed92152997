from dataclasses import dataclass

import pytest

from points24.harness.config import load_config, override, read_settings
from points24.tasks.errors import InputError


@dataclass(frozen=True)
class Settings:
    output_dir: str
    seed: int = 0
    learning_rate: float = 1e-3
    bf16: bool = True


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("output_dir: here\nseed: 1\nlearning_rate: 5e-4\n")
    return path


def test_the_command_line_replaces_the_file_which_replaces_the_defaults(file):
    assert load_config(Settings, file, ["seed=2"]) == Settings("here", 2, 5e-4, True)
    assert load_config(Settings, None, ["output_dir=x"]) == Settings("x")


def test_values_are_read_as_yaml():
    config = load_config(Settings, None, ["output_dir=x", "bf16=false", "learning_rate=1", "seed=-3"])
    assert config == Settings("x", -3, 1.0, False)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        1e-6,
        2e300,
        "text",
        "1e-3",
        "null",
        "a, b: c",
        "top 20%",
        "",
        [10, "30"],
        {"a": [{"b": 1.5}]},
    ],
)
def test_an_override_reads_as_what_it_was_made_of(value):
    assert read_settings(None, [override("key", value)]) == {"key": value}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sead=1"], "unknown key 'sead'; allowed: output_dir, seed, learning_rate, bf16"),
        (["seed=one"], "seed: expected int, found 'one'"),
        (["seed=true"], "seed: expected int, found True"),
        (["seed=1.5"], "seed: expected int, found 1.5"),
        (["learning_rate=fast"], "learning_rate: expected float, found 'fast'"),
        (["bf16=1"], "bf16: expected bool, found 1"),
        (["output_dir=[a"], "output_dir: '[a' is not a YAML value"),
        (["seed"], "expected key=value, found 'seed'"),
    ],
)
def test_a_bad_setting_is_named(file, overrides, message):
    with pytest.raises(InputError) as error:
        load_config(Settings, file, overrides)
    assert str(error.value) == message


def test_a_missing_setting_is_named():
    with pytest.raises(InputError, match="output_dir"):
        load_config(Settings, None, [])


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words", "a: [", ""])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"config .*config\.yaml") as error:
        load_config(Settings, path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_refused():
    with pytest.raises(InputError, match="config /nowhere"):
        load_config(Settings, "/nowhere")
