"""Greedy is greedy: a model's own generation settings change no reply of lm-eval's hf engine here."""

import json
import shutil
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from points24.harness.checkpoints.shipped import model_folder
from points24.harness.evaluation.engines.engine import EngineConfig, FolderWeights
from points24.harness.evaluation.engines.hf import HF
from points24.tasks.hand_sets import hand_set
from points24.tasks.prompts import template

GREEDY = {"until": ["\n\n"], "do_sample": False, "temperature": 0.0, "max_gen_toks": 48}


def replies(folder, settings):
    lm: Any = HF(EngineConfig(model_args={"dtype": "float32"}, batch_size=8)).load(FolderWeights(folder))
    prompts = [template().render(deal) for deal in hand_set("ood").deals[:8]]
    asked = [Instance("generate_until", {}, (prompt, dict(settings)), i) for i, prompt in enumerate(prompts)]
    return lm.generate_until(asked, disable_tqdm=True)


@pytest.mark.parametrize(
    "own", [{"repetition_penalty": 5.0}, {"num_beams": 4}, {"suppress_tokens": [5, 6, 7]}]
)
def test_the_models_own_settings_do_not_change_greedy_replies(own, tmp_path):
    theirs = shutil.copytree(model_folder("nano-base"), tmp_path / "model")
    settings = json.loads((theirs / "generation_config.json").read_text())
    (theirs / "generation_config.json").write_text(json.dumps(settings | own))
    assert replies(theirs, GREEDY) == replies(model_folder("nano-base"), GREEDY)


def test_a_setting_that_is_asked_for_applies():
    plain = replies(model_folder("nano-base"), GREEDY)
    assert replies(model_folder("nano-base"), GREEDY | {"repetition_penalty": 5.0}) != plain
