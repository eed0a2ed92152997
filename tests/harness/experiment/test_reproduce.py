import io
import json
import re
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace

import pytest

from points24.harness.checkpoints.shipped import model_folder
from points24.harness.cli import main
from points24.harness.config import read_settings
from points24.harness.experiment import commands, manifest, progress, runner
from points24.harness.experiment.config import ReproduceConfig
from points24.harness.experiment.manifest import (
    Floor,
    experiment_manifest,
    read_manifest,
    write_reproduction,
)
from points24.harness.experiment.plan import plan_text
from points24.harness.experiment.runner import conduct
from points24.harness.experiment.stages import Experiment, read_experiment, read_experiments
from points24.harness.files import locked
from points24.harness.records.store import add_records, read_records
from points24.harness.sweep import leaderboard
from points24.tasks.errors import InputError
from tests.harness.experiment.test_measures import world

SECTIONS = {
    "sft": {"output_dir": "nano-sft", "max_steps": 400},
    "ppo": {"max_steps": 8},
    "sweep": {"engine": "hf", "limit": 10, "model_args": {"dtype": "float32"}, "apply_chat_template": True},
}
NAMES = [
    "sft-0",
    "ppo-early-0",
    "ppo-late-0",
    "drift-base-0",
    "drift-best-ood-0",
    "sweep-0",
    "2x2-0",
    "shift-0",
]
REVERSE = [{"restore": ["directions", "values"], "ranks": "all"}]


@pytest.fixture
def experiment(tmp_path):
    config = ReproduceConfig(
        output_dir=str(tmp_path / "out"), base="nano-plain", ppo_from={"early": 20, "late": 40}, seeds=[0]
    )
    return Experiment(config, "nano.yaml", SECTIONS, {"sft": {"max_steps": 40}})


@pytest.fixture
def ran(monkeypatch, experiment):
    """The commands that were given; each leaves what the next ones look for."""
    found = SimpleNamespace(commands=[], threads=set(), fails=None)

    def run(command, **kwargs):
        words = command[3:]
        found.commands.append(words)
        found.threads.add(kwargs["env"].get("OMP_NUM_THREADS"))
        status = int(found.fails is not None and any(found.fails in word for word in words))
        out = next(
            (word.removeprefix("output_dir=") for word in words if word.startswith("output_dir=")), None
        )
        if words[0] == "train" and not status and not (experiment.out / out / "final").exists():
            for step in (20, 40):
                (experiment.out / out / f"checkpoint-{step}").mkdir(parents=True, exist_ok=True)
            (experiment.out / out / "best-ood").symlink_to("checkpoint-20")
            (experiment.out / out / "final").symlink_to("checkpoint-40")
        return status

    monkeypatch.setattr(runner.ending, "run", run)
    return found


def test_every_stage_is_a_command_that_anybody_can_give(experiment, ran):
    conduct([experiment], 1)
    assert [words[0] for words in ran.commands] == [
        "train",
        "train",
        "train",
        "drift",
        "drift",
        "sweep",
        "eval",
        "shift",
    ]
    sft, early = ran.commands[0], ran.commands[1]
    assert sft[:4] == ["train", "sft", "--config", "nano.yaml"]
    assert {"max_steps=40", f"output_dir={experiment.out}/sft-0", "seed=0"} <= set(sft)
    assert f"model_name_or_path={experiment.out}/sft-0/checkpoint-20" in early
    *_, from_base, from_best, sweep, two_by_two, shift = ran.commands
    names = [
        [Path(word).parent.name + "/" + Path(word).name for word in words[2:-2]]
        for words in (from_base, from_best)
    ]
    finals = [f"ppo-{start}-0/checkpoint-40" for start in ("early", "late")]
    assert names == [
        ["sft-0/checkpoint-20", "sft-0/checkpoint-40", *finals],
        ["sft-0/checkpoint-40", *finals],
    ]
    assert (Path(from_base[1]).name, from_best[1]) == ("nano-plain", f"{experiment.out}/sft-0/checkpoint-20")
    (pairs,) = read_settings(None, [sweep[-1]])["pairs"]
    assert pairs["source"].endswith("sft-0/checkpoint-20")
    assert pairs["target"].endswith("sft-0/checkpoint-40")
    assert two_by_two[two_by_two.index("--engine") :] == (
        ["--engine", "hf", "--model_args", "dtype=float32", "--limit", "10", "--apply_chat_template"]
    )
    assert [Path(word).name for word in shift[1:4]] == ["nano-plain", "checkpoint-20", "checkpoint-40"]
    given = shlex.join(shift[4:]).replace(str(experiment.out), "OUT")
    assert given == (
        "-o OUT/shift-0 --drift OUT/drift-base-0/drift.json --dtype float32 --limit 10 --apply_chat_template"
    )
    assert [p.name for p in sorted((experiment.out / "stages").iterdir())] == sorted(
        f"{n}.json" for n in NAMES
    )


def test_a_shift_takes_flags_of_its_own_and_drift_only_where_it_is_measured(experiment, ran):
    experiment.config.kinds = ["sft", "shift"]
    experiment.config.shift = {"limit": 4, "batch_size": 8}
    conduct([experiment], 1)
    given = shlex.join(ran.commands[-1][4:]).replace(str(experiment.out), "OUT")
    assert given == "-o OUT/shift-0 --dtype float32 --limit 4 --batch_size 8 --apply_chat_template"


def test_the_reverse_puts_the_end_of_sft_into_the_end_of_each_ppo_run(experiment, ran):
    experiment.config.reverse = REVERSE
    assert [stage.name for stage in experiment.stages(0)][6:8] == ["reverse-early-0", "reverse-late-0"]
    conduct([experiment], 1)
    for words, start in zip(ran.commands[6:8], ("early", "late"), strict=True):
        settings = read_settings(None, words[2:])
        assert settings["output_dir"] == f"{experiment.out}/reverse-{start}-0"
        assert settings["grid"] == REVERSE
        (pair,) = settings["pairs"]
        assert pair["source"].endswith("sft-0/checkpoint-40")
        assert pair["target"].endswith(f"ppo-{start}-0/checkpoint-40")


def test_a_sweep_has_what_its_methods_need(experiment, ran):
    experiment.settings["sweep"]["grid"] = [{"method": "task-arithmetic", "weight": 0.5}, {"method": "soup"}]
    experiment.config.kinds = ["sft"]
    conduct([experiment])
    for step in (30, 50):
        (experiment.out / "sft-0" / f"checkpoint-{step}").mkdir()
    experiment.config.kinds = ["sweep"]
    conduct([experiment])
    (pair,) = read_settings(None, ran.commands[-1][2:])["pairs"]
    assert pair["base"].endswith("nano-plain")
    assert [Path(other).name for other in pair["others"]] == ["checkpoint-30"]  # between 20 and 40


def test_several_processes_are_launched(experiment, ran):
    experiment.settings["ppo"]["num_processes"] = 2
    experiment.config.kinds = ["sft", "ppo"]
    conduct([experiment])
    sft, early, _ = ran.commands
    assert sft[0] == "train"
    launch, words = early[: early.index("-m")], early[early.index("-m") :]
    assert launch[-4:-1] == ["--nproc_per_node", "2", "--no-python"]
    assert words[:4] == ["-m", "points24.harness.cli", "train", "ppo"]


def test_what_is_done_is_not_done_again(experiment, ran):
    conduct([experiment], 1)
    ran.commands.clear()
    conduct([experiment], 1)
    assert ran.commands == []
    (experiment.out / "stages" / "sweep-0.json").unlink()
    conduct([experiment], 1)
    assert [words[0] for words in ran.commands] == ["sweep"]


@pytest.mark.parametrize("stage", ["sft-0", "drift-base-0", "sweep-0"])
def test_killed_just_before_a_stage_is_noted_as_done_it_goes_on(stage, experiment, ran, monkeypatch):
    note = runner.write_json

    def killed(path, *args, **kwargs):
        if path.name == f"{stage}.json":
            raise KeyboardInterrupt
        note(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            conduct([experiment], 1)
    if stage.startswith("drift"):
        (experiment.out / stage).mkdir()
    ran.commands.clear()
    conduct([experiment], 1)
    drifts = 1 if stage.startswith("drift") else 2 if stage == "sft-0" else 0
    assert [words[0] for words in ran.commands].count("drift") == drifts
    assert not list((experiment.out / "stages").glob("*.started"))


def test_two_commands_do_not_conduct_one_experiment(experiment, ran):
    with locked(experiment.out), pytest.raises(InputError, match="another command is at work there"):
        conduct([experiment], 1)


def test_what_was_done_with_other_settings_is_not_taken_for_this(experiment, ran):
    conduct([experiment], 1)
    ran.commands.clear()
    other = Experiment(experiment.config, "nano.yaml", SECTIONS, {"sft": {"max_steps": 20}})
    with pytest.raises(InputError, match="sft-0 was done with other settings; choose another output_dir"):
        conduct([other], 1)
    experiment.config.num_threads = 3
    with pytest.raises(InputError, match="sft-0 was done with other settings"):
        conduct([experiment], 1)
    assert ran.commands == []


def test_a_stage_that_fails_ends_its_seed_and_names_its_log(experiment, ran):
    ran.fails = "ppo-late-0"
    with pytest.raises(
        InputError, match=r"ppo-late-0 ended with status 1: see .*ppo-late-0.log; the same command"
    ):
        conduct([experiment], 1)
    assert len(ran.commands) == 3
    ran.fails = None
    ran.commands.clear()
    conduct([experiment], 1)
    assert [words[0] for words in ran.commands] == ["train", "drift", "drift", "sweep", "eval", "shift"]


def test_the_number_of_threads_is_the_experiments(experiment, ran, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    experiment.config.num_threads = 2
    conduct([experiment], 1)
    assert ran.threads == {"2"}
    assert "points24: 1 of 8, sft-0: OMP_NUM_THREADS=2 points24 train sft " in capsys.readouterr().err


def test_seeds_go_side_by_side_and_only_what_is_asked_for_runs(experiment, ran):
    experiment.config.seeds, experiment.config.kinds = [0, 1, 2], ["sft", "sweep"]
    conduct([experiment], 3)
    assert sorted(words[0] for words in ran.commands) == ["sweep"] * 3 + ["train"] * 3


def test_trainings_go_side_by_side_with_the_main_one_under_their_names(file, tmp_path, monkeypatch, capsys):
    experiments = read_experiments(str(file), ["trainings=[answers]", "kinds=[sft]"])
    for each in experiments:
        each.out = tmp_path / "out" / each.out.relative_to(experiments[0].out)
    at_once = Barrier(4, timeout=60)
    monkeypatch.setattr(runner.ending, "run", lambda command, **kwargs: int(at_once.wait() < 0))
    conduct(experiments, 4)
    took = [line for line in capsys.readouterr().err.splitlines() if line.endswith(" took 0 s")]
    stages = ["sft-0", "sft-1", "trainings/answers/sft-0", "trainings/answers/sft-1"]
    assert sorted(took) == [f"points24: {stage} took 0 s" for stage in stages]


def test_stages_that_nobody_sees_say_how_far_they_are_and_where_the_log_is(experiment, ran, capsys):
    experiment.config.kinds = ["sft"]
    conduct([experiment], 2)
    begun, took = capsys.readouterr().err.splitlines()
    assert begun.startswith("points24: 1 of 1, sft-0: points24 train sft ")
    assert begun.endswith(f"(log: {experiment.out / 'logs' / 'sft-0.log'})")
    assert took == "points24: sft-0 took 0 s"


def test_a_terminal_shows_what_runs_and_how_far_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS", 0.01)
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    log = tmp_path / "sft-0.log"
    log.write_bytes(b"sft:  40%|####      | 4/10\rsft:  50%|#####     | 5/10")
    with progress.Progress(4, unseen=True) as shown:
        shown.begins("sft-0", "points24 train sft", log)
        deadline = time.monotonic() + 10
        while "sft-0 50 %" not in screen.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
        shown.ends("sft-0", 3.2)
    assert "sft-0 50 %" in screen.getvalue()
    assert "1/4" in screen.getvalue()


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_variants_and_overrides_replace_settings():
    full, quick = read_experiment("nano.yaml", []), read_experiment("nano.yaml", [], "quick")
    assert full.config.seeds == [0, 1, 2, 3, 4, 5]
    assert quick.config.seeds == [0]
    assert quick.settings["sft"]["max_steps"] < full.settings["sft"]["max_steps"]
    assert quick.settings["sft"]["learning_rate"] == full.settings["sft"]["learning_rate"]
    other = read_experiment("nano.yaml", ["seeds=[5]", "sft.max_steps=7", "sweep.limit=3"])
    assert (other.config.seeds, other.settings["sft"]["max_steps"]) == ([5], 7)
    assert other.settings["sweep"]["limit"] == 3
    least = read_experiment("nano.yaml", ["sft.save_steps=9", "sweep.limit=3"], "quick")
    assert (least.settings["sft"]["save_steps"], least.settings["sweep"]["limit"]) == (9, 3)


FILE = """
reproduce: {output_dir: OUT, base: nano-plain, seeds: [0, 1], trainings: [diverse, answers], sft: {max_steps: 40}}
sft: {learning_rate: 1.0e-3, max_steps: 9}
ppo: {max_steps: 4}
grpo: {max_steps: 3}
sweep: {engine: hf, grid: [{method: interpolate, weight: 0.5}]}
trainings:
  diverse:
    sft: {rules: [id, "J=9,Q=9,K=9"]}
  answers:
    reproduce: {grpo_from: {late: 40}, further_tasks: [points24_five_cards]}
    sft: {working: none}
quick:
  reproduce: {seeds: [0], trainings: [answers]}
  sweep: {limit: 5}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(FILE.replace("OUT", str(tmp_path / "out")), "utf-8")
    return path


def test_trainings_are_the_experiment_with_other_settings(file, tmp_path):
    main, diverse, answers = read_experiments(str(file), ["sweep.limit=7"])
    assert (main.config.trainings, diverse.config.trainings) == (["diverse", "answers"], [])
    assert diverse.out == tmp_path / "out" / "trainings" / "diverse"
    assert diverse.settings["sft"] == {
        "learning_rate": 1e-3, "max_steps": 40, "rules": ["id", "J=9,Q=9,K=9"]
    }  # fmt: skip
    assert (main.config.grpo_from, answers.config.grpo_from) == ({}, {"late": 40})
    assert {each.settings["sweep"]["limit"] for each in (main, diverse, answers)} == {7}
    small = read_experiments(str(file), [], "quick")
    assert [each.config.seeds for each in small] == [[0], [0]]
    assert small[1].settings["sweep"]["limit"] == 5


def test_the_sections_of_rl_may_be_left_out(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("reproduce: {output_dir: out, base: nano-base}\nsft: {}\nsweep: {grid: []}\n", "utf-8")
    (found,) = read_experiments(str(path), [])
    assert (found.settings["ppo"], found.settings["grpo"]) == ({}, {})


def test_a_training_runs_grpo_and_further_tasks(file, ran):
    answers = read_experiments(str(file), [], "quick")[1]
    assert [stage.name for stage in answers.stages(0)][:2] == ["sft-0", "grpo-late-0"]
    commands = {stage.name: stage.command() for stage in answers.stages(0)}
    parent = answers.out / "sft-0" / "checkpoint-40"
    assert f"model_name_or_path={parent}" in commands["grpo-late-0"]
    assert commands["grpo-late-0"][:3] == ["points24", "train", "grpo"]
    evaluated = commands["2x2-0"]
    assert evaluated[evaluated.index("--tasks") + 1] == "points24_five_cards"
    assert str(answers.out / "grpo-late-0" / "final") in evaluated


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ["shift={batch: 8}"],
            "shift: unknown 'batch'; allowed: dtype, limit, template, batch_size, sample_tokens",
        ),
        (["trainings=[other]"], "trainings: unknown 'other'; allowed: diverse, answers"),
        (["trainings=diverse"], r"trainings: expected list\[str\], found 'diverse'"),
        (["grpo.seed=1"], "grpo.seed is the experiment's own"),
    ],
)
def test_a_bad_setting_is_one_line(file, given, message):
    with pytest.raises(InputError, match=message):
        read_experiments(str(file), given)


def test_a_training_with_an_unknown_section_is_one_line(file):
    file.write_text(file.read_text("utf-8").replace("    sft: {working", "    sfx: {working"), "utf-8")
    with pytest.raises(
        InputError, match=r"trainings: answers: expected sections reproduce, sft, .*, found sfx"
    ):
        read_experiments(str(file), [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "/nowhere.yaml"], "config /nowhere.yaml: .*No such file"),
        (["--config", "qwen2.5-0.5b.yaml"], "expected a section 'reproduce'"),
        (["sfx.max_steps=3"], "sfx.max_steps: expected one of the sections reproduce, sft, ppo, grpo, sweep"),
        (["sft.seed=3"], "sft.seed is the experiment's own"),
        (["seedz=[1]"], "unknown key 'seedz'; allowed: output_dir, base"),
        (["seeds=[1,1]"], r"seeds: expected different ones, found \[1, 1\]"),
        (["kinds=[sft,sftt]"], "kinds: unknown 'sftt'; allowed: sft, ppo, grpo, drift"),
        (["num_threads=0"], "num_threads: expected at least 1, found 0"),
        (["--seeds", "0,x"], r"seeds: expected list\[int\], found \[0, 'x'\]"),
        (["--workers", "0"], "workers: expected at least 1, found 0"),
    ],
)
def test_bad_input_is_one_line(capsys, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", *arguments]) == 2
    with pytest.raises(InputError, match=message):
        raise InputError(capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_the_plan_has_steps_disk_and_commands(monkeypatch):
    pytest.importorskip("trl")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    text = plan_text(read_experiment("qwen2.5-7b.yaml", ["seeds=[0,1]"]), Path("here"))
    assert "seeds: 0, 1; from Qwen/Qwen2.5-7B-Instruct" in text
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    assert rows["sft"][:2] == ["2", "1,600"]
    assert rows["ppo"][:2] == ["6", "300"]
    assert rows["2x2"] == ["12", "1,236"]
    commands = [line.partition(": ")[2] for line in text.splitlines() if line[:4] in ("sft-", "ppo-")]
    assert len(commands) == 8
    assert all(command.startswith("torchrun --standalone --nproc_per_node 4 ") for command in commands)
    assert "/sft-1/checkpoint-* " in text
    assert text.endswith("\nleaderboard: points24 leaderboard build --dir here")


def test_the_plan_adds_up_the_checkpoints_of_all_runs():
    pytest.importorskip("trl")
    text = plan_text(read_experiment("nano.yaml", ["seeds=[0,1]"]), Path("here"))
    (row,) = (line for line in text.splitlines() if line.startswith("sft "))
    size = (model_folder("nano-plain") / "model.safetensors").stat().st_size
    # 11 checkpoints of each of two runs; the base is stored in bfloat16, a run in float32.
    assert float(row.split()[-2]) == pytest.approx(2 * 11 * 2 * size / 2**20, rel=0.01)


def test_the_plan_lists_the_kinds_of_stages_that_run_and_no_other():
    pytest.importorskip("trl")
    text = plan_text(read_experiment("nano.yaml", ["seeds=[0]", "kinds=[sft,2x2]"]), Path("here"))
    rows = [line.split()[0] for line in text.splitlines() if re.match(r"\w+ +\d", line)]
    assert rows == ["sft", "2x2"]


@pytest.fixture
def measured(experiment, ran):
    """The experiment with every stage done and its drift measured; the checkpoints that drift is measured to."""
    conduct([experiment])
    finals = ["ppo-early-0/checkpoint-40", "ppo-late-0/checkpoint-40"]
    others = {
        "base": ["sft-0/checkpoint-20", "sft-0/checkpoint-40", *finals],
        "best-ood": ["sft-0/checkpoint-40", *finals],
    }
    facts = {"change": 0.2, "alignment": [0.5] * 10}
    for first, checkpoints in others.items():
        rows = [{"step": i, "values": float(i), "floor": facts | {"values": 0.0}} | facts for i in range(4)]
        folder = experiment.out / f"drift-{first}-0"
        folder.mkdir()
        (folder / "drift.json").write_text(json.dumps({"matrices": rows[: len(checkpoints)]}))
    return others


def test_the_manifest_speaks_of_names_and_not_of_paths(experiment, measured):
    others = measured
    (experiment.out / "stages" / "sft-1.json").write_text("of a seed that is not asked for")
    made = asdict(experiment_manifest(experiment))
    assert str(experiment.out.parent) not in json.dumps(made)
    assert made["base"] == "nano-plain"
    (seed,) = made["seeds"]
    assert (seed["best_ood"], seed["final"]) == ("sft-0/checkpoint-20", "sft-0/checkpoint-40")
    assert seed["ppo"]["late"] == {"start": "sft-0/checkpoint-40", "final": "ppo-late-0/checkpoint-40"}
    assert [row["checkpoint"] for row in made["drift"]] == [*others["base"], *others["best-ood"]]
    assert [row["values"] for row in made["drift"]] == [0.0, 1.0, 2.0, 3.0, 0.0, 1.0, 2.0]
    assert made["seconds"].keys() == set(NAMES)


def test_results_go_where_the_leaderboard_reads_them(experiment, measured, tmp_path):
    _, records = world(1, n=8)
    base = [r for r in records if r.stage == "base"]
    add_records(
        experiment.out / "sft-0" / "records" / "records.jsonl", [r for r in records if r.stage == "SFT"]
    )
    add_records(experiment.out / "2x2-0" / "records" / "records.jsonl", base)
    folder = tmp_path / "leaderboard" / "reproduction" / "out"
    folder.mkdir(parents=True)
    (folder / "seed-7.jsonl").write_text("of a run with other seeds")
    for _ in range(2):  # the second time gives the same files
        write_reproduction(experiment, folder)
        assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "seed-0.jsonl", "shift"]
        assert read_manifest(folder / "manifest.json") == experiment_manifest(experiment)
        assert {r.key for r in read_records(folder)} == {r.key for r in records if r.stage in ("base", "SFT")}


def test_what_seeds_share_is_written_once(experiment, measured, tmp_path, monkeypatch):
    _, records = world(1, n=8)
    experiment.config.seeds = [0, 1]
    monkeypatch.setattr(manifest, "experiment_manifest", lambda _: Floor(values=0.1, alignment=(0.5,) * 10))
    for seed in (0, 1):
        add_records(experiment.out / f"2x2-{seed}" / "records" / "records.jsonl", records[:4])
    write_reproduction(experiment, tmp_path / "made")
    assert [r.key for r in read_records(tmp_path / "made")] == [r.key for r in records[:4]]
    assert (tmp_path / "made" / "seed-1.jsonl").read_text() == ""


def test_the_last_step_is_the_command_of_the_leaderboard(monkeypatch, capsys, tmp_path):
    ran = []
    monkeypatch.setattr(
        commands, "conduct", lambda experiments, workers: ran.extend(each.out for each in experiments)
    )
    monkeypatch.setattr(manifest, "write_reproduction", lambda _, folder: ran.append(folder))
    monkeypatch.setattr(
        leaderboard.subprocess,
        "run",
        lambda words, **_: ran.append(words[3:]) or SimpleNamespace(returncode=3),
    )
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "--quick", "--dir", "here"]) == 3
    assert ran == [
        tmp_path / "nano-quick",
        Path("here/reproduction/nano-quick"),
        ["leaderboard", "build", "--dir", "here"],
    ]
    assert capsys.readouterr().err == "points24: leaderboard: points24 leaderboard build --dir here\n"


def test_seeds_are_a_list(monkeypatch, tmp_path):
    seeds = []
    monkeypatch.setattr(
        commands, "conduct", lambda experiments, workers: seeds.append(experiments[0].config.seeds)
    )
    monkeypatch.setattr(manifest, "write_reproduction", lambda *_: None)
    monkeypatch.setattr(commands, "build_leaderboard", lambda _: 0)
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "--seeds", "3"]) == 0
    assert main(["reproduce", "--seeds", "0,2"]) == 0
    assert seeds == [[3], [0, 2]]
