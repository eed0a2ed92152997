"""What other libraries promise nobody, and we need."""

import ast
from pathlib import Path

import pytest

from points24.harness.commands.internals import INTERNALS, gone

ROOT = Path(__file__).parents[3]


def test_every_private_name_that_is_used_is_there():
    assert gone() == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "transformers:Trainer._no_such",
            "transformers:Trainer._no_such: transformers {} has no such attribute",
        ),
        (
            "transformers:NoSuch._save",
            "transformers:NoSuch._save: transformers {} has no transformers:NoSuch",
        ),
        (
            "transformers:Trainer._save(folder)",
            "transformers:Trainer._save: expected parameters folder, found output_dir, state_dict in transformers {}",
        ),
    ],
)
def test_what_is_gone_is_named_with_the_version(name, line):
    import transformers

    assert gone([name]) == [line.format(transformers.__version__)]


def test_of_a_package_that_is_not_installed_nothing_is_asked():
    assert gone(["no_such_package.module:Class._name"]) == []


def test_every_private_method_that_is_extended_is_listed():
    listed = {name.partition("(")[0].rpartition(".")[2] for name in INTERNALS}
    extended = {
        node.attr
        for folder in ("tasks", "harness", "trainers", "leaderboards")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "super"
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
    }
    assert {"_save", "_model_generate"} <= extended <= listed
