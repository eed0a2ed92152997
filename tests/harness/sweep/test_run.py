"""Whole campaigns: their records are those of `recover` and plain scoring; what is done stays done."""

import errno
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from points24.harness.analysis.recovery import recipe_of
from points24.harness.checkpoints.digest import weights_digest
from points24.harness.checkpoints.shipped import model_folder
from points24.harness.cli import main
from points24.harness.evaluation.engines import open_engine
from points24.harness.evaluation.engines.engine import EngineConfig, FolderWeights
from points24.harness.evaluation.engines.hf import HF
from points24.harness.evaluation.score import score
from points24.harness.records.ingest import About
from points24.harness.records.record import Record, record_of
from points24.harness.records.store import read_records
from points24.harness.recovery.recipe import Recipe
from points24.harness.recovery.recovered import RecoveredWeights
from points24.harness.sweep import campaign, run
from points24.harness.sweep.campaign import conduct
from points24.harness.sweep.config import SweepConfig
from points24.harness.sweep.cost import plan_text
from points24.harness.sweep.jobs import jobs_of
from points24.tasks.errors import InputError
from tests.harness.analysis.test_recovery import scored as scored_as
from tests.harness.sweep.conftest import GREEDY, LIMIT, undated

RECIPES = ("both-top-20pct-layers-all", "both-top-60pct-layers-all")
RECOVERED = [f"{name}_of_nano-base_in_target" for name in RECIPES]
MODELS = ["nano-base", "target", *RECOVERED]
ONE: dict[str, Any] = {"grid": [{"ranks": "top 20%", "restore": "both"}]}
SAMPLING = ONE | {"gen_kwargs": {"do_sample": True, "temperature": 0.5, "max_gen_toks": 48}}


@pytest.fixture(scope="module")
def undisturbed(target, tmp_path_factory) -> list[Record]:
    """The records of the four jobs of `settings`."""
    folder = tmp_path_factory.mktemp("undisturbed")
    outcome = conduct(
        SweepConfig(
            pairs=[{"source": str(model_folder("nano-base")), "target": str(target)}],
            grid=[{"ranks": ["top 20%", "top 60%"], "restore": "both"}],
            output_dir=str(folder / "out"),
            tasks=["points24_ood"],
            limit=LIMIT,
            model_args={"dtype": "float32"},
            device="cpu",
            gen_kwargs=GREEDY,
        )
    )
    assert not outcome.failed
    return outcome.records


@pytest.fixture
def loads(monkeypatch):
    """What engines were given, and a switch to make them fail: model -> error."""
    given, failing = [], {}
    load = HF.load

    def recorded(self, model):
        name = type(model).__name__ + " " + Path(model.folder).name
        given.append(name)
        if name in failing:
            raise failing[name]
        return load(self, model)

    monkeypatch.setattr(HF, "load", recorded)
    return given, failing


def scored(folder) -> list[Record]:
    """A folder by a fresh engine, with no sweep around it."""
    engine = open_engine(EngineConfig(model_args={"dtype": "float32"}, device="cpu"))
    return score(
        engine.load(FolderWeights(folder)),
        ["points24_ood"],
        folder.parent / f"{folder.name}-scores",
        About(folder.name),
        model="hf",
        model_args={"pretrained": str(folder), "dtype": "float32"},
        batch_size="auto",
        limit=LIMIT,
        gen_kwargs=GREEDY,
    )


def messages(capsys) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("points24: ")]


# -- records ---------------------------------------------------------------------------------------------


def test_records_are_those_of_recover_and_plain_scoring(undisturbed, target, tmp_path):
    base = model_folder("nano-base")
    flags = ["--restore", "both", "--ranks", "top 20%", "--ranks", "top 60%"]
    assert (
        main(["recover", "--source", str(base), "--target", str(target), "-o", str(tmp_path / "out"), *flags])
        == 0
    )
    shutil.copytree(base, tmp_path / "base")
    shutil.copytree(target, tmp_path / "target")
    folders = [tmp_path / "base", tmp_path / "target", *(tmp_path / "out" / name for name in RECIPES)]
    expected = [record for folder in folders for record in scored(folder)]
    assert [r.model for r in undisturbed] == [name for name in MODELS for _ in range(2)]
    for ours, theirs in zip(undisturbed, expected, strict=True):
        same = ("outcomes", "verdicts", "truncated", "k", "n", "weights_sha256", "task", "filter", "decoding",
                "dtype", "engine", "template_digest", "hand_set_digest", "chat_template_digest")  # fmt: skip
        assert {name: getattr(ours, name) for name in same} == {name: getattr(theirs, name) for name in same}
        assert (ours.recipe or {}).get("ranks") == (theirs.recipe or {}).get("ranks")
    assert len({r.outcomes for r in undisturbed}) > 1


def test_recovered_records_say_where_they_come_from(undisturbed):
    record = next(r for r in undisturbed if r.model == RECOVERED[0])
    assert (record.parent, record.stage) == ("target", "recovered")
    assert record.recipe == {
        "source": "nano-base", "target": "target", "method": "spectral", "restore": "both",
        "ranks": "top 20%", "layers": "all", "modules": None,
    }  # fmt: skip


def test_metadata_reach_the_tasks(config):
    outcome = conduct(config(**ONE, limit=2, metadata={"rule": "J=5,Q=7,K=9"}))
    assert not outcome.failed
    assert {r.rule for r in outcome.records} == {"J=5,Q=7,K=9"}


def test_a_sweep_ends_with_its_report_and_prints_its_records(sweep, undisturbed, capsys, tmp_path):
    assert sweep("--json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert undated([record_of(json.loads(line)) for line in lines]) == undated(undisturbed)
    assert "both, top 20% of ranks" in (tmp_path / "out" / "generated" / "recovery.md").read_text()
    assert (tmp_path / "out" / "generated" / "README.md").exists()
    assert undated(read_records(tmp_path / "out" / "records")) == undated(undisturbed)


def test_a_job_leaves_what_lm_eval_writes_and_what_it_took(config, tmp_path):
    outcome = conduct(config(**ONE))
    for job in outcome.jobs:
        folder = tmp_path / "out" / "jobs" / job.key[:16]
        about = json.loads((folder / "job.json").read_text())
        assert about["model"] == job.model
        assert about["seconds"].keys() == {"load", "score", "record"}
        assert bool(about["recovery"]) == (job.pair is not None)
        assert len(list(folder.rglob("samples_points24_ood_*.jsonl"))) == 1
    assert not list((tmp_path / "out").rglob("*.partial"))
    assert not (tmp_path / "out" / "factors").exists()


def test_a_dry_run_prints_the_plan_and_writes_nothing(sweep, capsys, tmp_path):
    assert sweep("--dry-run", "--json", keep="all") == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["jobs"], plan["deals"], plan["models"]) == (4, 4 * LIMIT, MODELS)
    assert plan_text(plan).startswith(f"4 jobs of {LIMIT} deals, {4 * LIMIT} in all\n  nano-base\n  target\n")
    assert {path.name for path in tmp_path.iterdir()} == {"recipe.yaml"}


def test_a_dry_run_needs_no_weights(settings, capsys, tmp_path):
    def plan_of(**others):
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings | others))
        assert main(["sweep", str(tmp_path / "recipe.yaml"), "--dry-run", "--json", "keep=all"]) == 0
        return json.loads(capsys.readouterr().out)

    given = settings["pairs"][0]
    described = {end: tmp_path / Path(folder).name for end, folder in given.items()}
    for end, folder in described.items():
        shutil.copytree(given[end], folder, ignore=shutil.ignore_patterns("*.safetensors"))
    found, expected = plan_of(pairs=[{end: str(f) for end, f in described.items()}]), plan_of()
    assert found["factors_bytes"] == expected["factors_bytes"] > 0
    assert found["kept_bytes"] == pytest.approx(expected["kept_bytes"], rel=0.01)
    assert {**found, "kept_bytes": 0} == {**expected, "kept_bytes": 0}


def test_a_dry_run_of_eval_needs_no_weights(target, tmp_path, capsys):
    shutil.copytree(target, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    assert main(["eval", str(tmp_path / "model"), "-o", str(tmp_path / "out"), "--dry-run"]) == 0
    assert capsys.readouterr().out.endswith("in all\n  model\n")
    assert main(["eval", str(tmp_path / "model"), "-o", str(tmp_path / "out")]) == 2
    assert "model: no weights" in capsys.readouterr().err


def test_of_a_file_with_a_section_sweep_that_section_is_read(settings, tmp_path, capsys):
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump({"sft": {"max_steps": 1}, "sweep": settings}))
    assert main(["sweep", str(file), "limit=3", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["jobs"], plan["deals"]) == (4, 12)


def test_eval_of_several_folders_gives_what_each_gives_alone(target, tmp_path, capsys):
    other, _ = nano_of_another_shape(tmp_path / "other")
    folders = [model_folder("nano-base"), shutil.copytree(target, tmp_path / "target"), other]
    flags = ["--tasks", "points24_ood", "--limit", str(LIMIT), "--model_args", "dtype=float32", "--json"]
    flags += ["--gen_kwargs", "max_gen_toks=48"]
    assert main(["eval", *map(str, folders), "-o", str(tmp_path / "out"), *flags]) == 0
    found = [record_of(json.loads(line)) for line in capsys.readouterr().out.splitlines()]
    shutil.copytree(folders[0], tmp_path / "nano-base")
    alone = [r for folder in (tmp_path / "nano-base", *folders[1:]) for r in scored(folder)]
    assert [(r.model, r.outcomes, r.weights_sha256) for r in found] == [
        (r.model, r.outcomes, r.weights_sha256) for r in alone
    ]


def test_a_merge_made_elsewhere_has_a_recipe_in_its_records(target, tmp_path, capsys):
    folder = shutil.copytree(target, tmp_path / "merged")
    (folder / "training.json").unlink()  # the copy's own recipe
    flags = ["-o", str(tmp_path / "out"), "--tasks", "points24_ood", "--limit", "2", "--json"]
    flags += ["--gen_kwargs", "max_gen_toks=8"]

    def recorded(*more):
        assert main(["eval", str(folder), *flags, *more]) == 0
        printed = capsys.readouterr()
        return record_of(json.loads(printed.out.splitlines()[0])), printed.err

    assert recorded()[0].recipe is None
    config = {"merge_method": "linear", "models": [
        {"model": "org/final", "parameters": {"weight": 0.75}}, {"model": "org/sft", "parameters": {"weight": 0.25}},
    ]}  # fmt: skip
    (folder / "mergekit_config.yml").write_text(yaml.safe_dump(config))
    record, _ = recorded()
    assert recipe_of(record) == Recipe.read({"method": "interpolate", "weight": 0.25})
    assert record.recipe is not None
    assert (record.parent, record.recipe["source"], record.recipe["tool"]) == (
        "org/final",
        "org/sft",
        "mergekit",
    )

    (folder / "mergekit_config.yml").write_text(yaml.safe_dump(config | {"merge_method": "karcher"}))
    record, said = recorded()
    assert record.recipe is None
    assert (
        "mergekit's karcher is no method of recovery here; give --recipe; its records have no recipe" in said
    )

    file = tmp_path / "made.yaml"
    file.write_text(
        yaml.safe_dump({"method": "reset", "layers": "0", "source": "org/sft", "target": "org/final"})
    )
    record, _ = recorded("--recipe", str(file))
    assert recipe_of(record) == Recipe.read({"method": "reset", "layers": "0"})
    assert record.recipe is not None
    assert (record.stage, record.recipe["target"]) == ("recovered", "org/final")


def nano_of_another_shape(folder: Path):
    """A random model with the nano base's tokenizer, and other sizes."""
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = AutoConfig.from_pretrained(model_folder("nano-base"))
    shape.num_hidden_layers, shape.intermediate_size = 1, 32
    AutoModelForCausalLM.from_config(shape).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(model_folder("nano-base") / name, folder)
    return folder, shape


# -- what is kept ----------------------------------------------------------------------------------------


def kept(folder):
    return sorted(path.name for path in (folder / "kept").iterdir()) if (folder / "kept").exists() else []


def test_kept_checkpoints_are_those_that_were_scored(config, undisturbed, tmp_path):
    out = tmp_path / "out"
    conduct(config(keep="none"))
    assert kept(out) == []
    conduct(config(keep="best"))  # nothing is scored again
    best = max(RECOVERED, key=lambda name: next(r.k for r in undisturbed if r.model == name))
    assert kept(out) == [best]
    outcome = conduct(config(keep="all"))
    assert kept(out) == sorted(RECOVERED)
    for record in outcome.records:
        if record.model in RECOVERED:
            assert weights_digest(out / "kept" / record.model) == record.weights_sha256
    about = json.loads((out / "kept" / best / "recovery.json").read_text())
    assert about["source"] == str(model_folder("nano-base"))
    assert about["recipe"]["restore"] == "both"
    assert not (out / "factors").exists()


@pytest.mark.parametrize(
    ("first", "second", "best"),
    [
        # Right replies on OOD and ID; the source has 15 and 8, the target 3 and 18.
        ((9, 13), (14, 9), 0),  # a little less back, and far more kept: harmonic mean 0.5 against 0.18
        ((9, 13), (9, 15), 1),
        ((9, 13), (9, 13), 0),
        ((9, None), (14, None), 1),  # without ID, what is recovered
        ((9, 13), (14, None), 1),  # no mean of the second: OOD accuracy
    ],
)
def test_the_best_is_that_of_the_report_and_of_equals_the_first(config, first, second, best):
    records = {"nano-base": scored_as("nano-base", 15, 8), "target": scored_as("target", 3, 18)}
    jobs = jobs_of(config())
    for job, (ood, of_id) in zip(jobs[2:], (first, second), strict=True):
        assert job.pair is not None
        assert job.recipe is not None
        about = {"stage": "recovered", "recipe": job.pair.recorded(job.recipe)}
        records[job.model] = scored_as(job.model, ood, of_id, **about, weights_sha256=f"{job.recipe}" * 64)
    if None in (first[1], second[1]) and first[1] is None:
        records = {model: found[:1] for model, found in records.items()}
    (chosen,) = campaign.best_jobs(jobs, SimpleNamespace(records=lambda job: records[job.model]))  # pyright: ignore[reportArgumentType]  a stand-in
    assert chosen.recipe == best


def test_without_something_to_recover_the_best_has_the_highest_accuracy(config):
    wins = {"nano-base": 3, "target": 15}
    jobs = jobs_of(config())
    records = {job.model: scored_as(job.model, wins.get(job.model, 5 + (job.recipe or 0))) for job in jobs}
    (chosen,) = campaign.best_jobs(jobs, SimpleNamespace(records=lambda job: records[job.model]))  # pyright: ignore[reportArgumentType]  a stand-in
    assert chosen.recipe == 1


# -- going on --------------------------------------------------------------------------------------------


def test_what_is_done_is_not_done_again(config, loads, capsys):
    first = conduct(config(**ONE))
    given, _ = loads
    given.clear()
    again = conduct(config(**ONE))
    assert not given
    assert again.records == first.records
    assert "points24: 3 of 3 jobs are done already" in messages(capsys)


def test_a_grid_that_grew_scores_its_new_jobs_alone(config, undisturbed, loads):
    given, _ = loads
    conduct(config(**ONE))
    given.clear()
    assert undated(conduct(config()).records) == undated(undisturbed)
    assert given == ["RecoveredWeights target"]


def test_a_job_that_fails_does_not_end_the_others(sweep, undisturbed, loads, capsys, tmp_path):
    given, failing = loads
    failing["FolderWeights target"] = RuntimeError("out of\nmemory")
    assert sweep("--json") == 1
    assert given.count("FolderWeights target") == 2  # retried once
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 6
    lines = [line for line in captured.err.splitlines() if line.startswith("points24: ")]
    assert lines == [
        "points24: trying 1 jobs again",
        "points24: target failed: RuntimeError: out of memory",
        "points24: 1 of 4 jobs failed; the same command tries them again",
        f"points24: leaderboard: points24 leaderboard build --dir {tmp_path / 'out'}",
    ]
    (error,) = (tmp_path / "out" / "jobs").glob("*.error")
    assert error.read_text().startswith("RuntimeError: out of memory\n\nTraceback")
    assert (tmp_path / "out" / "factors").exists()

    failing.clear()
    given.clear()
    assert sweep("--json") == 0
    assert given == ["FolderWeights target"]
    found = [record_of(json.loads(line)) for line in capsys.readouterr().out.splitlines()]
    assert undated(found) == undated(undisturbed)
    assert not error.exists()
    assert not (tmp_path / "out" / "factors").exists()


def test_a_failure_that_passes_is_retried_within_one_command(config, undisturbed, monkeypatch):
    load, reasons = HF.load, [OSError("gone for a moment")]

    def flaky(self, model):
        if reasons and isinstance(model, RecoveredWeights):
            raise reasons.pop()
        return load(self, model)

    monkeypatch.setattr(HF, "load", flaky)
    outcome = conduct(config(**ONE))
    assert not outcome.failed
    assert undated(outcome.records) == undated(undisturbed[:6])


def test_when_every_job_fails_json_is_empty(sweep, loads, capsys):
    _, failing = loads
    failing |= dict.fromkeys(
        ("FolderWeights nano-base", "FolderWeights target", "RecoveredWeights target"), RuntimeError("no")
    )
    assert sweep("--json", retries=0) == 1
    assert capsys.readouterr().out == ""


def test_weights_with_nan_are_named(config, target, tmp_path):
    folder = shutil.copytree(target, tmp_path / "broken")
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    tensors[name][0, 0] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    pair = {"source": str(model_folder("nano-base")), "target": str(folder)}
    outcome = conduct(config(pairs=[pair], retries=0, limit=1, **ONE))
    assert [why for job, why in outcome.failed.items() if job.pair] == [
        f"{name}: NaN, infinite or overflowing elements in the target"
    ]


def test_another_command_in_the_same_folder_is_refused(sweep, config, monkeypatch, capsys):
    status = []

    def meanwhile(*_):
        status.append(sweep())
        status.append(capsys.readouterr().err.splitlines())

    monkeypatch.setattr(campaign.Workers, "execute", meanwhile)
    conduct(config(retries=0))
    assert status[0] == 2
    (line,) = status[1]
    assert line.endswith("out: another command is at work there")


def test_a_folder_is_free_again_after_an_error(config, monkeypatch):
    def broken(*_):
        raise InputError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(campaign.Workers, "execute", broken)
        with pytest.raises(InputError, match="broken"):
            conduct(config(**ONE))
    assert not conduct(config(**ONE)).failed


# -- a full disk -----------------------------------------------------------------------------------------


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def before_a_job(patch):
    patch.setattr(run.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))


def in_a_job(patch):
    write = Path.write_text

    def limited(path, *arguments, **options):
        return no_space() if path.name == "records.jsonl" else write(path, *arguments, **options)

    patch.setattr(Path, "write_text", limited)


def at_a_factor(patch):
    patch.setattr("safetensors.torch.save_file", no_space)


def at_the_records(patch):
    patch.setattr(campaign, "add_records", no_space)


def at_a_kept_checkpoint(patch):
    patch.setattr("points24.harness.recovery.recovered.Copy", no_space)


@pytest.mark.parametrize("full", [before_a_job, in_a_job, at_a_factor, at_the_records, at_a_kept_checkpoint])
def test_a_full_disk_ends_it_with_one_line_and_it_goes_on_later(
    sweep, undisturbed, monkeypatch, capsys, full
):
    with monkeypatch.context() as patch:
        full(patch)
        assert sweep(**ONE, keep="all") == 2
        (line,) = messages(capsys)
        assert "No space left on device" in line or "MiB are free on its disk; make room" in line
    assert sweep("--json", **ONE, keep="all") == 0
    found = [record_of(json.loads(line)) for line in capsys.readouterr().out.splitlines()]
    assert undated(found) == undated(undisturbed[:6])


def test_the_factors_must_fit_on_the_disk_with_what_is_there_already(sweep, config, monkeypatch, capsys):
    assert sweep("--dry-run", "--json", **ONE, keep="all") == 0
    plan = json.loads(capsys.readouterr().out)
    needed = plan["factors_bytes"] + plan["kept_bytes"]
    monkeypatch.setattr(campaign.shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    assert sweep(**ONE, keep="all") == 2
    (line,) = messages(capsys)
    amounts = f"need {needed / 2**20:.0f} MiB; {(needed - 1) / 2**20:.0f} MiB are free"
    assert f"factors and kept checkpoints {amounts} on its disk; make room" in line
    settings = config(**ONE, keep="all")
    results = run.Results(Path(settings.output_dir))
    assert not results.job(jobs_of(settings)[0]).parent.exists()
    results.factors.mkdir()
    (results.factors / "a.safetensors").write_bytes(b"1")
    campaign.check_space(settings, results, jobs_of(settings))


# -- sampling --------------------------------------------------------------------------------------------


def test_seeds_give_records_of_their_own_and_the_same_again(config, tmp_path):
    first = conduct(config(**SAMPLING, seeds=[1, 2], limit=8))
    by_seed = {
        seed: [(r.outcomes, r.verdicts) for r in first.records if r.decoding and r.decoding["seed"] == seed]
        for seed in (1, 2)
    }
    assert len(by_seed[1]) == len(by_seed[2]) == 6
    assert by_seed[1] != by_seed[2]
    again = conduct(config(**SAMPLING, seeds=[2, 1], limit=8, output_dir=str(tmp_path / "again")))
    assert sorted(map(str, undated(again.records))) == sorted(map(str, undated(first.records)))


def test_scoring_leaves_random_numbers_alone(config):
    state = torch.get_rng_state()
    conduct(config(**ONE))
    assert torch.equal(torch.get_rng_state(), state)


# -- shapes ----------------------------------------------------------------------------------------------


def test_pairs_of_two_shapes_take_turns(config, settings, tmp_path, undisturbed):
    folder, _ = nano_of_another_shape(tmp_path / "small")
    other = {"source": str(folder), "target": str(folder)}
    outcome = conduct(config(pairs=[*settings["pairs"], other], retries=0))
    assert not outcome.failed
    found = [r for r in outcome.records if "small" not in r.model]
    assert undated(found) == undated(undisturbed)
