import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from points24.harness.checkpoints.digest import weights_digest
from points24.tasks.errors import InputError
from points24.trainers.run.folder import VALUE_HEAD, RunFolder, parent_of
from tests.leaderboards.conftest import record

PARENT = {"name": "base", "weights_sha256": "0" * 64}
MODEL = {
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "chat_template.jinja",
}
TRAINER = {
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "training_args.bin",
    "trainer_state.json",
    "README.md",
}


@dataclass
class Settings:
    seed: int = 0
    learning_rate: float = 1e-3
    logging_steps: int = 10
    save_at: list[int] = field(default_factory=list)


def about(parent=PARENT, processes=1, stage="SFT", **config) -> dict:
    return {"stage": stage, "parent": parent, "num_processes": processes, "config": config}


def claim(run: RunFolder, said: dict) -> None:
    claim_with(run, said, Settings(**said["config"]))


def claim_with(run: RunFolder, said: dict, config: object) -> None:
    with run.claim(said, config):
        pass


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """A run that was begun with seed 1."""
    run = RunFolder(tmp_path / "run")
    claim(run, about(seed=1))
    return run


def save_state(run: RunFolder, step: int, fill: float = 1.0) -> Path:
    """What a trainer saves: the model, and what resuming takes."""
    state = run.state_of(step)
    state.mkdir(parents=True)
    for name in (MODEL | TRAINER) - {"model.safetensors"}:
        (state / name).write_text(json.dumps(f"{name} of step {step}"))
    save_file({"w": torch.full((2,), fill)}, state / "model.safetensors")
    (state / "model.safetensors").chmod(0o600)
    (state / "config.json").chmod(0o644)
    return state


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def at(step: int, outcomes: str = "1100", **changes):
    said = {"model": f"run/checkpoint-{step}", "parent": "base", "stage": "SFT", "step": step}
    return record(outcomes, **said | changes)


# -- whose the folder is ---------------------------------------------------------------------------------


def test_a_new_folder_says_what_was_claimed_and_how(tmp_path):
    run = RunFolder(tmp_path / "deep" / "run")
    claim(run, about(seed=1))
    said = json.loads((run.path / "training.json").read_text())
    assert said.items() >= about(seed=1).items()
    assert {"python", "torch", "points24"} <= said["versions"].keys()
    assert said["command"]


def test_an_empty_folder_may_be_claimed(tmp_path):
    claim(RunFolder(tmp_path), about())
    assert files(tmp_path) == {"training.json", ".lock"}


def test_the_same_run_may_go_on(run):
    before = (run.path / "training.json").read_text()
    claim(run, about(seed=1))
    claim(run, about(seed=1, learning_rate=1e-3, save_at=[]))  # the defaults, spelt out
    assert (run.path / "training.json").read_text() == before


@pytest.mark.parametrize("name", ["logging_steps", "report_to", "run_name", "disable_tqdm"])
def test_what_changes_nothing_of_the_checkpoints_may_change(run, name):
    claim_with(run, about() | {"config": {"seed": 1, name: 7}}, Settings())


@pytest.mark.parametrize(
    ("said", "changed"),
    [
        (about(seed=2), "seed was 1, is 2"),
        (about(), "seed was 1, is 0"),
        (about(seed=1, save_at=[5]), "save_at was [], is [5]"),
        (about(seed=3, learning_rate=0.1), "learning_rate was 0.001, is 0.1; seed was 1, is 3"),
        (about(seed=1, processes=2), "num_processes was 1, is 2"),
        (about(seed=1, stage="PPO"), "stage was 'SFT', is 'PPO'"),
        (
            about(seed=1, parent=PARENT | {"weights_sha256": "f" * 64}),
            f"parent was {PARENT}, is {PARENT | {'weights_sha256': 'f' * 64}}",
        ),
    ],
)
def test_a_run_with_other_settings_is_refused_and_they_are_named(run, said, changed):
    before = (run.path / "training.json").read_text()
    with pytest.raises(InputError) as error:
        claim(run, said)
    assert str(error.value) == (
        f"{run.path} holds a run with another config: {changed}; choose another output_dir"
    )
    assert (run.path / "training.json").read_text() == before


def test_a_run_from_before_protocols_goes_on_under_the_default_one_alone(tmp_path):
    @dataclass
    class Paid:
        rewards: str = "verdict"
        protocol: str = "points24"

    run = RunFolder(tmp_path / "run")
    # as it was written, when `paper` meant what `verdict` means now
    claim_with(run, about(rewards="paper"), Paid())
    claim_with(run, about(rewards="verdict") | {"protocol_digest": "d"}, Paid())
    claim_with(run, about() | {"protocol_digest": "d"}, Paid())
    with pytest.raises(InputError, match="rewards was 'verdict', is 'paper'"):
        claim_with(run, about(rewards="paper") | {"protocol_digest": "d"}, Paid())
    with pytest.raises(InputError, match="protocol was 'points24', is 'paper'"):
        claim_with(run, about(protocol="paper") | {"protocol_digest": "d"}, Paid())


def test_a_protocol_that_was_edited_meanwhile_is_another(tmp_path):
    run = RunFolder(tmp_path / "run")
    claim(run, about() | {"protocol_digest": "d"})
    with pytest.raises(InputError, match="protocol_digest was 'd', is 'e'"):
        claim(run, about() | {"protocol_digest": "e"})


def test_a_finished_run_may_be_claimed_and_says_so(run):
    save_state(run, 10)
    run.publish(10)
    assert not run.is_finished()
    run.finish()
    claim(run, about(seed=1))
    assert run.is_finished()


def test_what_a_kill_leaves_before_the_first_file_is_whole_may_be_claimed(tmp_path):
    (tmp_path / "training.json.partial").write_text("{")
    (tmp_path / ".lock").touch()
    claim(RunFolder(tmp_path), about(seed=1))
    assert json.loads((tmp_path / "training.json").read_text())["config"] == {"seed": 1}
    assert not (tmp_path / "training.json.partial").exists()


def test_two_commands_do_not_work_in_one_folder(tmp_path):
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    with (
        first.claim(about(seed=1), Settings(seed=1)),
        pytest.raises(InputError, match="another command is at work there"),
    ):
        claim(second, about(seed=1))
    claim(RunFolder(tmp_path / "run"), about(seed=1))


def test_what_is_no_run_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("mine")
    for path in (tmp_path / "thesis", tmp_path / "thesis" / "thesis.tex"):
        with pytest.raises(InputError) as error:
            claim(RunFolder(path), about())
        assert str(error.value) == f"{path} is not empty and holds no run; choose another output_dir"
    assert files(tmp_path / "thesis") == {"thesis.tex"}
    assert (tmp_path / "thesis" / "thesis.tex").read_text() == "mine"


def test_a_runs_own_checkpoint_is_no_run(run):
    save_state(run, 10)
    with pytest.raises(InputError, match="step was 10, is None"):
        claim(RunFolder(run.publish(10)), about(seed=1))


def test_a_parent_has_a_name_and_the_digest_of_its_weights(run, tmp_path):
    save_state(run, 10)
    checkpoint = run.publish(10)
    run.mark("best-ood", 10)
    shutil.copytree(checkpoint, tmp_path / "my-model")
    digest = weights_digest(checkpoint)
    assert digest is not None
    assert parent_of(checkpoint) == {"name": "run/checkpoint-10", "weights_sha256": digest}
    assert parent_of(run.path / "best-ood") == parent_of(checkpoint)
    assert parent_of(tmp_path / "my-model") == {"name": "my-model", "weights_sha256": digest}
    assert parent_of("someone/model") == {"name": "someone/model", "weights_sha256": None}


# -- checkpoints -----------------------------------------------------------------------------------------


def test_a_checkpoint_is_the_model_alone_and_says_how_it_was_made(run):
    save_state(run, 10)
    assert run.publish(10) == run.path / "checkpoint-10"
    assert files(run.checkpoint(10)) == MODEL | {"training.json"}
    said = json.loads((run.checkpoint(10) / "training.json").read_text())
    assert said == json.loads((run.path / "training.json").read_text()) | {"step": 10}


def test_the_critic_comes_along_but_not_as_weights_of_the_model(run):
    state = save_state(run, 10)
    (state / VALUE_HEAD).write_text("critic")
    run.publish(10)
    assert (run.checkpoint(10) / VALUE_HEAD).read_text() == "critic"
    assert [file.name for file in run.checkpoint(10).glob("*.safetensors")] == ["model.safetensors"]


def test_weights_may_be_read_by_whoever_may_read_the_config(run):
    save_state(run, 10)
    run.publish(10)
    modes = {
        name: (run.checkpoint(10) / name).stat().st_mode & 0o777
        for name in ("config.json", "model.safetensors")
    }
    assert modes == {"config.json": 0o644, "model.safetensors": 0o644}


def test_checkpoints_share_the_states_files_and_outlive_them(run):
    state = save_state(run, 10, fill=3.0)
    run.publish(10)
    weights = run.checkpoint(10) / "model.safetensors"
    assert weights.samefile(state / "model.safetensors")
    shutil.rmtree(run.state)
    assert load_file(weights)["w"].tolist() == [3.0, 3.0]
    assert (run.checkpoint(10) / "config.json").read_text() == json.dumps("config.json of step 10")


def test_without_hard_links_files_are_copied(run, monkeypatch):
    def refuse(*_):
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    state = save_state(run, 10)
    run.publish(10)
    assert files(run.checkpoint(10)) == MODEL | {"training.json"}
    assert not (run.checkpoint(10) / "config.json").samefile(state / "config.json")


@pytest.mark.parametrize("files_before", range(len(MODEL)))
def test_a_checkpoint_appears_complete_or_not_at_all(run, monkeypatch, files_before):
    link, calls = os.link, iter(range(files_before))

    def links_until_killed(source, target):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        link(source, target)

    save_state(run, 10)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", links_until_killed)
        with pytest.raises(KeyboardInterrupt):
            run.publish(10)
    assert not list(run.path.glob("checkpoint-*"))
    run.publish(10)
    assert files(run.checkpoint(10)) == MODEL | {"training.json"}
    assert files(run.path) == {".lock", "training.json", "state", "checkpoint-10"}


def test_a_step_that_is_trained_again_replaces_its_checkpoint(run):
    state = save_state(run, 10, fill=1.0)
    run.publish(10)
    shutil.rmtree(state)
    save_state(run, 10, fill=2.0)
    (run.checkpoint(10) / "stale.txt").touch()
    run.publish(10)
    assert files(run.checkpoint(10)) == MODEL | {"training.json"}
    assert load_file(run.checkpoint(10) / "model.safetensors")["w"].tolist() == [2.0, 2.0]


# -- resuming --------------------------------------------------------------------------------------------


def test_a_run_resumes_from_the_last_complete_state_and_drops_the_others(run):
    assert run.last_state() is None
    for step in (20, 100, 9, 110):
        save_state(run, step)
    for step in (20, 100, 9):
        run.complete(step)
    assert run.last_state() == run.state_of(100)
    assert files(run.state) == {"checkpoint-9", "checkpoint-20", "checkpoint-100"}


def test_without_a_complete_state_a_run_starts_anew(run):
    save_state(run, 10)
    run.publish(10)  # published, but not scored
    assert run.last_state() is None
    assert not files(run.state)


# -- records and log -------------------------------------------------------------------------------------


def test_records_of_a_model_replace_those_it_had(run):
    assert run.records() == []
    parent, first = record(model="base"), at(10)
    other = at(10, filter="flexible-extract")
    run.put_records([parent])
    run.put_records([first, other])
    assert run.records() == [parent, first, other]
    again, later = at(10, "1110"), at(20)
    run.put_records([again])
    run.put_records([later])
    assert run.records() == [parent, again, later]
    assert [json.loads(line)["k"] for line in run.records_file.open()] == [2, 3, 2]


def test_weights_are_known_as_scored_by_name_and_digest(run):
    run.put_records([at(10, weights_sha256="a" * 64), record(model="someone/model")])
    assert run.has_records("run/checkpoint-10", "a" * 64)
    assert not run.has_records("run/checkpoint-10", "b" * 64)
    assert not run.has_records("run/checkpoint-20", "a" * 64)
    assert run.has_records("someone/model", None)


def test_the_log_forgets_what_will_be_trained_again_and_half_a_line(run):
    run.truncate_log(0)
    assert run.log.read_text() == ""
    rows = [{"step": 0, "score": 0.5}, {"step": 10, "loss": 1.5}, {"step": 10, "score": 0.25}]
    for row in [*rows, {"step": 11, "loss": 1.0}, {"step": 20, "loss": 0.5}]:
        run.append_log(row)
    with run.log.open("a") as log:
        log.write('{"step": 10, "lo')  # killed while writing
    run.truncate_log(10)
    assert [json.loads(line) for line in run.log.open()] == rows
    run.append_log({"step": 11, "loss": 0.9})
    assert json.loads(run.log.read_text().splitlines()[-1]) == {"step": 11, "loss": 0.9}


# -- the end ---------------------------------------------------------------------------------------------


def test_a_finished_run_names_its_best_and_its_last_checkpoint(run):
    run.put_records([record("1111", model="base")])  # better than all, but not the run's
    for step, outcomes in ((10, "1000"), (20, "1110"), (30, "1100")):
        save_state(run, step)
        run.publish(step)
        run.put_records([at(step, outcomes)])
    run.finish()
    assert {name: str((run.path / name).readlink()) for name in ("best-ood", "final")} == {
        "best-ood": "checkpoint-20",
        "final": "checkpoint-30",
    }
    summary = json.loads((run.path / "curve.json").read_text())
    assert (summary["run"], summary["best_ood"], summary["final"]) == ("run", 20, 30)
    assert not run.state.exists()
    assert load_file(run.path / "best-ood" / "model.safetensors")


def test_without_scores_only_the_end_is_named(run):
    save_state(run, 10)
    run.publish(10)
    run.put_records([record(model="base")])  # the parent's alone are no curve
    assert run.curve() is None
    run.finish()
    assert files(run.path) == {".lock", "training.json", "records", "checkpoint-10", "final"}


def test_a_mark_moves_and_the_checkpoint_it_named_stays(run):
    for step in (10, 20):
        save_state(run, step)
        run.publish(step)
        run.mark("best-ood", step)
    assert (run.path / "best-ood").resolve() == run.checkpoint(20).resolve()
    assert not run.checkpoint(10).is_symlink()
    assert files(run.checkpoint(10)) == MODEL | {"training.json"}


def test_a_run_that_is_killed_while_it_tidies_up_is_finished(run, monkeypatch):
    save_state(run, 10)
    run.publish(10)
    run.complete(10)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            run.finish()
    assert run.is_finished()
    assert run.state.exists()
    run.tidy()
    assert not run.state.exists()
