"""What a record says of the decoding where a model's generation_config.json has a say."""

import json

import pytest

from points24.harness.records.decoding import AS_TOLD, decoding_of
from points24.harness.records.lm_eval_output import Run

GREEDY = {"do_sample": False, "temperature": 0.0, "until": []}
SAMPLED = {"do_sample": True, "temperature": 0.7}


def decoding(folder, told, **config):
    about = {
        "config": {"model": "hf", "torch_seed": 1} | config,
        "configs": {"t": {"generation_kwargs": told}},
    }
    return decoding_of(Run("t", "1.0", about, {}), str(folder))


@pytest.fixture
def folder(tmp_path):
    own = {
        "eos_token_id": 1,
        "do_sample": True,
        "temperature": 0.6,
        "top_p": 0.9,
        "num_beams": 4,
        "min_length": 0,
    }
    (tmp_path / "generation_config.json").write_text(json.dumps(own))
    return tmp_path


def test_lm_evals_hf_took_the_models_own_settings_and_the_record_says_so(folder):
    assert decoding(folder, GREEDY) == GREEDY | {"num_beams": 4}
    assert decoding(folder, SAMPLED) == SAMPLED | {"num_beams": 4, "top_p": 0.9, "seed": 1}
    assert decoding(folder, SAMPLED | {"top_p": 0.5})["top_p"] == 0.5


@pytest.mark.parametrize("config", [{AS_TOLD: True}, {"model": "vllm"}])
def test_where_the_task_alone_decides_nothing_is_added(config, folder):
    assert decoding(folder, GREEDY, **config) == GREEDY


@pytest.mark.parametrize("pretrained", ["no/such/folder", "nobody/nothing", "gpt2"])
def test_an_unknown_model_adds_nothing(pretrained):
    assert decoding(pretrained, GREEDY) == GREEDY


@pytest.mark.parametrize("content", ["", "[]", "{", "\xff"])
def test_a_damaged_file_adds_nothing(content, tmp_path):
    (tmp_path / "generation_config.json").write_text(content, "latin-1")
    assert decoding(tmp_path, GREEDY) == GREEDY
