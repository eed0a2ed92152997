"""The command: what it measures, keeps, resumes and refuses."""

import argparse
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from points24.harness.records.shift import MEASURES, read_shift_records
from points24.harness.shift.commands import shift
from points24.tasks.errors import InputError
from tests.harness.shift.models import FILES, saved


def command(*words: object) -> int:
    parser = argparse.ArgumentParser()
    shift.add_arguments(parser)
    return shift.run(parser.parse_args([*map(str, words), "--limit", "6", "--sample_tokens", "8"]))


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A base and two checkpoints of a run."""
    folder = tmp_path_factory.mktemp("models")
    saved(folder / "base", 1)
    for step in (5, 10):
        saved(folder / f"sft-0/checkpoint-{step}", 1 + step)
    rows = [{"step": 4, "loss": 0.5}, {"step": 5, "grad_norm": 1.0}, {"step": 8, "loss": 0.25}]
    (folder / "sft-0/log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def out(models) -> Path:
    command(models / "base", *checkpoints(models), "-o", models / "out")
    return models / "out"


def checkpoints(models: Path) -> list[Path]:
    return [models / f"sft-0/checkpoint-{step}" for step in (5, 10)]


def test_every_checkpoint_and_task_has_a_record(out):
    records = read_shift_records(out / "shift.jsonl")
    assert [(each.model.rpartition("/")[2], each.step, each.task) for each in records] == [
        (name, step, task)
        for name, step in (("base", 0), ("checkpoint-5", 5), ("checkpoint-10", 10))
        for task in ("points24_id", "points24_ood")
    ]
    for each in records:
        assert each.n == 6
        if each.n_rival:
            assert each.measures.keys() == {*MEASURES}
        assert [layer.layer for layer in each.layers] == [1, 2]
        for found in each.measures.values():
            assert found.interval is None or found.interval[0] <= found.mean <= found.interval[1]
    assert [each.training_loss for each in records[::2]] == [None, 0.5, 0.25]
    assert [(each.rival, each.n_rival) for each in records[:2]] == [("ood", 0), ("id", 4)]


def test_the_base_has_not_moved_from_itself(out):
    for each in read_shift_records(out / "shift.jsonl")[:2]:
        for name, found in each.measures.items():
            if "kl" in name:
                assert found.mean == 0
            elif "overlap" in name:
                assert found.mean == 1
        for layer in each.layers:
            assert layer.cka == pytest.approx(1, abs=1e-6)
            assert layer.shift == pytest.approx(0, abs=1e-6)


def test_the_report_has_a_row_for_each(out, capsys):
    report = (out / "shift.md").read_text()
    assert report.count("| points24_") == 6
    assert "checkpoint-10 | points24_ood" in report


def test_a_checkpoint_that_is_done_is_not_measured_again(models, out, capsys):
    files = {path: path.stat().st_mtime_ns for path in out.glob("*/*.json")}
    assert len(files) == 4
    shutil.copytree(out, models / "again")
    lost = sorted((models / "again/checkpoints").glob("*.json"))[1]
    before = lost.read_text()
    lost.unlink()
    assert command(models / "base", *checkpoints(models), "-o", models / "again") == 0
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("points24: shift: "))
    assert line.endswith(", 1 of 1")
    kept, made = json.loads(before), json.loads(lost.read_text())
    assert made["records"] == kept["records"]
    assert made["deals"] == kept["deals"]
    assert (models / "again/shift.jsonl").read_text() == (out / "shift.jsonl").read_text()
    assert command(models / "base", *checkpoints(models), "-o", out) == 0
    assert files == {path: path.stat().st_mtime_ns for path in out.glob("*/*.json")}


def test_other_settings_and_other_weights_are_measured_anew(models, out, tmp_path):
    shutil.copytree(out, tmp_path / "out")
    command(models / "base", checkpoints(models)[0], "-o", tmp_path / "out", "--memorised", "J=5,Q=7,K=9")
    assert len(list((tmp_path / "out/checkpoints").glob("*.json"))) == 5
    changed = tmp_path / "sft-0/checkpoint-5"
    shutil.copytree(checkpoints(models)[0], changed)
    tensors = load_file(changed / "model.safetensors")
    tensors["model.norm.weight"] += 1
    save_file(tensors, changed / "model.safetensors", {"format": "pt"})
    command(models / "base", changed, "-o", tmp_path / "out")
    assert len(list((tmp_path / "out/checkpoints").glob("*.json"))) == 6


def test_the_weights_are_read_from_a_report_of_drift(models, out, tmp_path):
    floor = {"alignment": [1.0, 0.9]}
    rows = [
        {"step": 1, "change": 0.25, "values": 0.5, "alignment": [0.5, 0.7], "floor": floor},
        {"step": 1, "change": 0.75, "values": None, "alignment": [0.5, 0.7], "floor": floor},
        {"step": 0, "change": 9.0, "values": 9.0, "alignment": [0.0, 0.0], "floor": floor},
    ]
    report = {"checkpoints": ["base", "checkpoint-5", "checkpoint-10"], "matrices": rows}
    (tmp_path / "drift.json").write_text(json.dumps(report))
    shutil.copytree(out, tmp_path / "out")
    command(models / "base", *checkpoints(models), "-o", tmp_path / "out", "--drift", tmp_path / "drift.json")
    records = read_shift_records(tmp_path / "out/shift.jsonl")
    assert records[0].weights == {}
    assert records[-1].weights == {"change": 0.5, "values": 0.5, "misalignment": pytest.approx(0.35)}
    (tmp_path / "drift.json").write_text("{}")
    with pytest.raises(InputError, match=r"drift.json: expected the drift.json of points24 drift"):
        command(models / "base", checkpoints(models)[0], "-o", out, "--drift", tmp_path / "drift.json")


def test_an_adapter_is_its_merged_model(models, tmp_path):
    peft = pytest.importorskip("peft")
    adapter, merged = tmp_path / "run/checkpoint-1", tmp_path / "run/checkpoint-2"
    model = AutoModelForCausalLM.from_pretrained(models / "base")
    settings = peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    wrapped = peft.get_peft_model(model, settings)
    wrapped.save_pretrained(adapter)
    wrapped.merge_and_unload().save_pretrained(merged)
    for folder in (adapter, merged):
        for name in FILES:
            shutil.copy(models / "base" / name, folder / name)
    assert command(models / "base", adapter, merged, "-o", tmp_path / "out") == 0
    records = read_shift_records(tmp_path / "out/shift.jsonl")[2:]
    for ours, theirs in zip(records[:2], records[2:], strict=True):
        for name, found in ours.measures.items():
            assert found.mean == pytest.approx(theirs.measures[name].mean, abs=1e-4), name
    assert records[1].measures["kl_samples"].mean > 0.001


def broken(models: Path, folder: Path) -> dict[str, Path]:
    """Checkpoints that cannot be measured, by what is wrong with them."""
    found = {name: folder / f"{name}/checkpoint-5" for name in ("nan", "tokens", "none", "size")}
    for path in found.values():
        shutil.copytree(checkpoints(models)[0], path)
    tensors = load_file(found["nan"] / "model.safetensors")
    tensors["lm_head.weight"][3] = torch.nan
    save_file(tensors, found["nan"] / "model.safetensors", {"format": "pt"})
    tokenizer = json.loads((found["tokens"] / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary[40], vocabulary[41] = vocabulary[41], vocabulary[40]
    (found["tokens"] / "tokenizer.json").write_text(json.dumps(tokenizer))
    for path in found["none"].glob("token*"):
        path.unlink()
    shutil.rmtree(found["size"])
    saved(found["size"], 3, context=40)
    return found


def test_a_checkpoint_that_cannot_be_measured_is_named_and_the_others_go_on(models, tmp_path, capsys):
    bad = broken(models, tmp_path)
    good = checkpoints(models)[1]
    words = [*bad.values(), tmp_path / "missing", good]
    assert command(models / "base", *words, "-o", tmp_path / "out") == 1
    error = capsys.readouterr().err
    for name, why in {
        "nan": "lm_head.weight holds NaN or an infinity",
        "tokens": "another tokenizer: token '",
        "none": "no tokenizer in its folder",
        "size": "its context holds 40 tokens; prompt and reply take ",
    }.items():
        (line,) = {line for line in error.splitlines() if line.startswith(f"points24: {bad[name]} failed")}
        assert why in line
    assert f"points24: {tmp_path / 'missing'} failed: " in error
    assert "(2 tokens differ)" in error
    assert "5 of 6 checkpoints failed" in error
    assert {each.step for each in read_shift_records(tmp_path / "out/shift.jsonl")} == {0, 10}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tasks", "points24_odd"], "unknown task 'points24_odd'"),
        (["--tasks", "points24_id,points24_id"], "tasks: expected different ones"),
        (["--batch_size", "0"], "batch_size: expected at least 1, found 0"),
        (["--memorised", "never"], "unknown rule 'never'"),
        (["--template", "/nowhere"], "template /nowhere"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_folder(models, tmp_path, words, message):
    with pytest.raises(InputError, match=message) as found:
        command(models / "base", checkpoints(models)[0], "-o", tmp_path / "out", *words)
    assert "\n" not in str(found.value)
    assert not (tmp_path / "out").exists()


def test_a_base_that_cannot_hold_the_prompt_is_refused(models, tmp_path):
    small = saved(tmp_path / "small", 1, context=40)
    with pytest.raises(InputError, match=r"small: its context holds 40 tokens; prompt and reply take 5\d"):
        command(small, checkpoints(models)[0], "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
