"""What is refused, with one line, exit status 2, and nothing left behind."""

import json
import shutil

import pytest
import yaml

from points24.harness.checkpoints.shipped import model_folder
from points24.harness.cli import main
from tests.harness.recovery.models import make_pair

SAMPLING = {"gen_kwargs": {"do_sample": True}}


@pytest.fixture
def refused(settings, tmp_path, capsys):
    """Runs a sweep that has to fail, and returns its message."""

    def run(*flags, **others):
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in (settings | others).items() if v is not ...}))
        return failing(tmp_path, capsys, "sweep", str(path), *flags)

    return run


@pytest.fixture
def refused_eval(tmp_path, capsys):
    base = str(model_folder("nano-base"))

    def run(*flags, model=base):
        return failing(tmp_path, capsys, "eval", model, "-o", str(tmp_path / "out"), *flags)

    return run


def failing(folder, capsys, *arguments):
    before = sorted(folder.rglob("*"))
    capsys.readouterr()
    status = main(arguments)
    printed = capsys.readouterr()
    assert status == 2
    assert printed.out == ""
    assert sorted(folder.rglob("*")) == before
    (line,) = printed.err.splitlines()
    return line.removeprefix("points24: error: ")


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"girds": []}, "unknown key 'girds'; allowed: engine, model_args,"),
        ({"grid": ...}, "missing key 'grid'"),
        (
            {"tasks": ["points24_ood_revise"]},
            "points24_ood_revise: several attempts need apply_chat_template",
        ),
        ({"grid": []}, "grid: expected at least one, found none"),
        ({"grid": {"ranks": "all"}}, "grid: expected list[dict[str, typing.Any]], found {'ranks': 'all'}"),
        ({"grid": ["all"]}, "grid: expected list["),
        ({"grid": [{}]}, "grid: ranks is missing: 'top 20%'"),
        ({"grid": [{"rank": "all"}]}, "grid: unknown key 'rank'; allowed: method, modules, restore, ranks,"),
        ({"grid": [{"ranks": "top twenty"}]}, "grid: 'twenty': expected a share such as 20%"),
        ({"grid": [{"ranks": [0.2]}]}, "grid: ranks: expected list[str | int], found [0.2]"),
        (
            {"grid": [{"ranks": "all", "paper_scripts": True}]},
            "grid: unknown key 'paper_scripts'; allowed: method, modules, restore, ranks,",
        ),
        (
            {"grid": [{"ranks": "all", "restore": "vectors"}]},
            "restore: expected directions or values or both",
        ),
        (
            {"grid": [{"ranks": "all", "modules": "q_prj"}]},
            "this model has no q_prj; allowed: attention, down_proj,",
        ),
        ({"grid": [{"ranks": "all", "layers": "0-9"}]}, "there is no layer"),
        ({"grid": [{"ranks": ["all", "all"]}]}, "grid: the same recipe is asked for twice"),
        ({"grid": [{"ranks": "all"}, {"ranks": "ALL"}]}, "grid: the same recipe is asked for twice"),
        (
            {"grid": [{"method": "rest", "layers": "0"}]},
            "grid: method: expected spectral or ",
        ),
        ({"grid": [{"method": "interpolate"}]}, "grid: weight is missing"),
        (
            {"grid": [{"method": "task-arithmetic", "weight": 1}]},
            "pairs: base is missing: task-arithmetic needs the ancestor of source and target",
        ),
        ({"pairs": []}, "pairs: expected at least one, found none"),
        (
            {"pairs": [{"source": "x"}]},
            "pairs: expected source, target and maybe base and others, found source",
        ),
        ({"pairs": [{"source": "x", "target": "y", "bsae": "z"}]}, "found bsae, source, target"),
        ({"pairs": [{"source": "x", "target": 3}]}, "pairs: expected folders or hub ids, found"),
        ({"pairs": ["x"]}, "pairs: expected list["),
        ({"pairs": [{"source": "/no/where", "target": "/no/where"}]}, "/no/where: expected a folder or"),
        ({"tasks": ["points24_odd"]}, "tasks: no task 'points24_odd'; points24 tasks lists them"),
        ({"tasks": []}, "tasks: expected at least one, found none"),
        ({"tasks": "points24_id"}, "tasks: expected list[str], found 'points24_id'"),
        ({"engine": "vlm"}, "engine: expected hf or vllm or local-completions"),
        (
            {"engine": "local-completions", "model_args": {"base_url": "x"}},
            "engine: expected hf or vllm, found",
        ),
        ({"limit": 0}, "limit: expected at least 1, found 0"),
        ({"limit": "all"}, "limit: expected int or null, found 'all'"),
        ({"batch_size": 0}, "batch_size: expected at least 1, or auto, found 0"),
        ({"batch_size": "many"}, "batch_size: expected at least 1, or auto, found 'many'"),
        ({"retries": -1}, "retries: expected at least 0, found -1"),
        ({"keep": "some"}, "keep: expected none or best or all, found 'some'"),
        ({"seeds": [1]}, "seeds: greedy decoding needs none"),
        (SAMPLING, "seeds: sampling needs at least one"),
        (SAMPLING | {"seeds": [1, 1]}, "seeds: expected different ones, found [1, 1]"),
        (SAMPLING | {"seeds": ["x"]}, "seeds: expected list[int], found ['x']"),
        ({"model_args": {"pretrained": "x"}}, "model_args: pretrained is the checkpoint"),
        ({"model_args": "dtype=float32"}, "model_args: expected dict"),
        ({"metadata": {"template": "/no/where"}}, "/no/where"),
        ({"metadata": {"rule": "odd"}}, "rule 'odd'"),
        (
            {"metadata": {"attempts": 0}, "tasks": ["points24_ood_revise"], "apply_chat_template": True},
            "attempts: expected a whole number",
        ),
        ({"executor": "slrum"}, "executor: expected local or slurm or ray, found 'slrum'"),
        ({"workers": 2}, "workers and executor_args go with executor slurm or ray"),
        ({"executor": "ray", "workers": 0}, "workers: expected at least 1, found 0"),
    ],
)
def test_settings_that_make_no_sense(refused, others, message):
    assert message in refused(**others)


def test_a_pair_of_different_architectures(refused, tmp_path):
    source, _ = make_pair(tmp_path / "other")
    pair = {"source": str(source), "target": str(model_folder("nano-base"))}
    assert "different architectures" in refused(pairs=[pair])


def test_a_flipped_bit_where_there_is_a_digest(refused, settings, target, tmp_path):
    folder = shutil.copytree(target, tmp_path / "recovered")
    (folder / "recovery.json").write_text(json.dumps({"sha256": {"model.safetensors": "0" * 64}}))
    pair = settings["pairs"][0] | {"target": str(folder)}
    assert "model.safetensors: SHA-256" in refused(pairs=[pair])


def test_a_recipe_file_that_is_none(capsys, tmp_path):
    assert "No such file" in failing(tmp_path, capsys, "sweep", str(tmp_path / "none.yaml"))
    (tmp_path / "list.yaml").write_text("- 1\n")
    assert "expected keys and values, found list" in failing(
        tmp_path, capsys, "sweep", str(tmp_path / "list.yaml")
    )


def test_an_output_folder_that_is_a_file(refused, tmp_path):
    (tmp_path / "out").write_text("")
    assert refused().startswith(str(tmp_path / "out"))


def test_flags_and_overrides(refused):
    assert "workers: expected at least 1, found 0" in refused("--executor", "ray", "--workers", "0")
    assert "unknown key 'limt'" in refused("limt=3")
    assert "expected key=value, found 'limit'" in refused("limit")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tasks", "points24_odd"], "tasks: no task 'points24_odd'"),
        (["--engine", "vlm"], "engine: expected hf or vllm"),
        (["--model_args", "dtype"], "--model_args: expected key=value, found 'dtype'"),
        (["--seeds", "0,x"], "seeds: expected list[int], found [0, 'x']"),
        (["--limit", "0"], "limit: expected at least 1, found 0"),
        (["--batch_size", "many"], "batch_size: expected at least 1, or auto"),
        (["--metadata", "rule=odd"], "rule 'odd'"),
        (["--engine", "local-chat-completions"], "needs base_url"),
        (["--recipe", "no-such.yaml"], "recipe no-such.yaml: "),
    ],
)
def test_flags_of_eval(refused_eval, flags, message):
    assert message in refused_eval(*flags)


def test_a_checkpoint_that_is_not_there(refused_eval, tmp_path):
    assert "expected a folder or a model of the hub" in refused_eval(model=str(tmp_path / "none"))
    assert "not available from the hub" in refused_eval(model="no-such/model")
    (tmp_path / "empty").mkdir()
    assert f"{tmp_path / 'empty'}: no weights" in refused_eval(model=str(tmp_path / "empty"))
