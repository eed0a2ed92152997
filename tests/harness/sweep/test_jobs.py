"""What is a job, and which jobs are the same."""

import json
import shutil

import pytest

from points24.harness.checkpoints.shipped import model_folder
from points24.harness.sweep.config import EvalConfig
from points24.harness.sweep.jobs import jobs_of, shares_of
from points24.tasks.errors import InputError
from tests.harness.sweep.conftest import LIMIT, perturbed

SAMPLING = {"gen_kwargs": {"do_sample": True}, "seeds": [0]}


def keys(config):
    return [job.key for job in jobs_of(config)]


def evaluation(folder, *models, **others):
    return EvalConfig(models=list(map(str, models)), output_dir=str(folder), **others)


def test_keys_are_stable(config):
    assert keys(config()) == keys(config())
    assert len(set(keys(config()))) == 4


@pytest.mark.parametrize(
    "others",
    [
        {"limit": 9},
        {"limit": None},
        {"tasks": ["points24_id"]},
        {"tasks": ["points24_ood", "points24_id"]},
        {"model_args": {}},
        {"batch_size": 1},
        {"apply_chat_template": True},
        {"gen_kwargs": {"max_gen_toks": 40}},
        {"engine": "vllm"},
        {"metadata": {"rule": "J=5,Q=7,K=9"}},
        {"metadata": {"target": 23}},
        SAMPLING,
        SAMPLING | {"seeds": [1]},
        SAMPLING | {"gen_kwargs": {"do_sample": True, "temperature": 0.5}},
    ],
)
def test_what_decides_outcomes_is_in_every_key(config, others):
    plain, changed = keys(config()), keys(config(**others))
    assert not set(plain) & set(changed)
    if "seeds" in others:
        assert not set(keys(config(**SAMPLING | {"seeds": [7]}))) & set(changed)


@pytest.mark.parametrize(
    "others",
    [{"output_dir": "elsewhere"}, {"retries": 5}, {"keep": "all"}, {"executor": "ray", "workers": 2}],
)
def test_what_decides_no_outcome_is_in_no_key(config, others):
    assert keys(config(**others)) == keys(config())


def test_a_recipes_settings_are_in_its_key(config):
    entries = [
        {"ranks": "top 20%"},
        {"ranks": "top 21%"},
        {"ranks": "top 20%", "restore": "values"},
        {"ranks": "top 20%", "layers": "first 50%"},
        {"ranks": "top 20%", "modules": "q_proj,k_proj"},
        {"ranks": "top 20%", "taper": "5%"},
        {"method": "paper-scripts", "ranks": "top 20%"},
        {"method": "interpolate", "weight": 0.5},
        {"method": "reset", "layers": "0"},
    ]
    assert len(set(keys(config(grid=entries)))) == 2 + len(entries)


def test_records_name_the_checkpoints_that_a_method_uses(config, target, tmp_path):
    other, base = perturbed(tmp_path / "other", 0.1, seed=1), str(model_folder("nano-base"))
    pair = {"source": base, "target": str(target), "base": base, "others": [str(other)]}
    grid = [
        {"method": "soup"},
        {"method": "dare", "density": 0.5, "elect": True},
        {"method": "dg-hard", "threshold": [1, 2], "modules": "q_proj"},
    ]
    jobs = jobs_of(config(grid=grid, pairs=[pair]))
    made_of = {"source": "nano-base", "target": "target"}
    assert [job.pair.recorded(job.recipe) for job in jobs if job.pair and job.recipe is not None] == [
        made_of | {"others": ["other"], "method": "soup", "layers": "all"},
        made_of | {
            "base": "nano-base", "method": "dare", "layers": "all", "weight": 1.0, "density": 0.5, "seed": 0,
            "elect": True,
        },
        *(
            made_of | {"method": "dg-hard", "layers": "all", "modules": ("q_proj",), "threshold": threshold}
            for threshold in (1.0, 2.0)
        ),
    ]  # fmt: skip
    for without in ("base", "others"):
        pairs = [{key: value for key, value in pair.items() if key != without}]
        with pytest.raises(InputError, match=f"pairs: {without} is missing"):
            jobs_of(config(grid=grid, pairs=pairs))


def test_a_job_does_not_depend_on_the_rest_of_its_grid(config):
    grown = config(grid=[{"ranks": ["top 5%", "top 60%", "top 20%"], "restore": "both"}])
    assert set(keys(config())) < set(keys(grown))


@pytest.mark.parametrize(
    "file",
    ["model.safetensors", "config.json", "chat_template.jinja", "tokenizer.json", "generation_config.json"],
)
def test_a_checkpoints_files_are_in_its_key(tmp_path, file):
    folder = shutil.copytree(model_folder("nano-base"), tmp_path / "model")
    before = keys(evaluation(tmp_path, folder))
    content = bytearray((folder / file).read_bytes())
    if file.endswith(".safetensors"):
        content[-2] ^= 1
    else:
        content += b"\n"
    (folder / file).write_bytes(content)
    assert keys(evaluation(tmp_path, folder)) != before


def test_a_moved_checkpoint_is_the_same_one(tmp_path):
    folder = shutil.copytree(model_folder("nano-base"), tmp_path / "a" / "model")
    before = keys(evaluation(tmp_path, folder))
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert keys(evaluation(tmp_path, tmp_path / "b" / "model")) == before


def test_a_templates_text_is_in_the_key_and_not_its_place(config, tmp_path):
    def key(name, text):
        (tmp_path / name).write_text(text)
        return keys(config(metadata={"template": str(tmp_path / name)}))

    first = key("a.jinja", "{{ cards }} {{ J }}")
    assert key("b.jinja", "{{ cards }} {{ J }}") == first
    assert key("c.jinja", "{{ cards }} {{ Q }}") != first


def test_ends_are_scored_once_however_many_pairs_share_them(config, settings, target, tmp_path):
    other = perturbed(tmp_path / "other", 0.3, seed=1)
    (pair,) = settings["pairs"]
    found = jobs_of(
        config(pairs=[pair, pair | {"target": str(other)}, {"source": str(target), "target": str(other)}])
    )
    ends = [job.model for job in found if job.pair is None]
    assert ends == ["nano-base", "target", "other"]
    assert len(found) == 3 + 3 * 2


def test_copies_under_two_names_are_scored_under_both(tmp_path):
    copy = shutil.copytree(model_folder("nano-base"), tmp_path / "copy")
    found = jobs_of(evaluation(tmp_path, model_folder("nano-base"), copy))
    assert [job.model for job in found] == ["nano-base", "copy"]


def test_a_folder_named_twice_is_scored_once(tmp_path):
    base = model_folder("nano-base")
    assert len(jobs_of(evaluation(tmp_path, base, base / ".." / "nano-base"))) == 1


def test_two_checkpoints_of_one_name_are_refused(tmp_path):
    folders = [perturbed(tmp_path / str(i) / "end", 0.1, seed=i) for i in range(2)]
    with pytest.raises(InputError, match="two different checkpoints are called end"):
        jobs_of(evaluation(tmp_path, *folders))


def test_checkpoints_of_a_training_run_are_called_by_run_and_step(tmp_path):
    folders = [perturbed(tmp_path / f"run{i}" / "checkpoint-4", 0.1, seed=i) for i in range(2)]
    found = jobs_of(evaluation(tmp_path, *folders))
    assert [job.model for job in found] == ["run0/checkpoint-4", "run1/checkpoint-4"]


def test_a_model_of_the_hub_is_called_by_its_id(config, target, tmp_path, monkeypatch):
    snapshot = shutil.copytree(target, tmp_path / "snapshots" / "0123abcd")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(snapshot))
    base = str(model_folder("nano-base"))
    found = jobs_of(config(pairs=[{"source": base, "target": "owner/model"}], grid=[{"ranks": "all"}]))
    assert [job.model for job in found] == [
        "nano-base",
        "owner/model",
        "directions-all-layers-all_of_nano-base_in_owner-model",
    ]
    assert found[2].pair
    assert found[2].pair.names == ("nano-base", "owner/model")
    assert found[2].pair.given == (base, "owner/model")
    assert jobs_of(evaluation(tmp_path, "owner/model"))[0].model == "owner/model"


def test_a_seed_makes_a_job_of_its_own(config):
    found = jobs_of(config(gen_kwargs={"do_sample": True}, seeds=[3, 5]))
    assert [job.seed for job in found] == [3, 5] * 4


def test_a_folder_that_changes_within_a_process_is_read_again(tmp_path):
    folder = perturbed(tmp_path / "model", 0.1)
    before = keys(evaluation(tmp_path, folder))
    shutil.rmtree(folder)
    perturbed(folder, 0.2)
    assert keys(evaluation(tmp_path, folder)) != before


# -- shares ----------------------------------------------------------------------------------------------


def test_shares_hold_every_job_once_and_never_two_pairs(config, settings):
    (pair,) = settings["pairs"]
    back = {"source": pair["target"], "target": pair["source"]}
    found = jobs_of(config(pairs=[pair, back], grid=[{"ranks": [f"top {i}0%" for i in range(1, 6)]}]))
    for jobs in range(1, 12):
        shares = shares_of(found, jobs)
        assert sorted((job for share in shares for job in share), key=found.index) == found
        assert all(len({job.pair for job in share}) == 1 for share in shares)
        assert all(shares)
    assert [len(shares_of(found, jobs)) for jobs in (1, 3, 4, 6)] == [3, 3, 6, 6]


def test_nothing_left_to_do_makes_no_share():
    assert shares_of([], 3) == []


def test_one_job_takes_each_pair_as_a_whole(config):
    assert [len(share) for share in shares_of(jobs_of(config()), 1)] == [2, 2]


def test_the_plan_counts_jobs_deals_and_bytes(config, target):
    from points24.harness.sweep.cost import plan_of

    plan = plan_of(config(keep="best"), jobs_of(config()))
    assert (plan["jobs"], plan["pairs"], plan["deals_per_job"], plan["deals"]) == (4, 1, LIMIT, 4 * LIMIT)
    assert plan["models"] == [job.model for job in jobs_of(config())]
    assert plan["kept_bytes"] == pytest.approx((target / "model.safetensors").stat().st_size, rel=0.05)
    assert json.dumps(plan)
