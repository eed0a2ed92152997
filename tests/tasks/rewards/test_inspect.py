"""Inspect itself on its mock model."""

import pytest

from points24.tasks.hand_sets import hand_set
from points24.tasks.prompts import json_reply
from points24.tasks.solver import solutions

inspect_ai = pytest.importorskip("inspect_ai", reason="needs inspect_ai: pip install inspect-ai")


def test_an_eval_on_the_mock_model_gives_the_share_of_each_verdict(tmp_path):
    from inspect_ai.model import ModelOutput, ModelUsage, get_model  # pyright: ignore[reportMissingImports]: optional

    from points24.tasks.rewards import for_inspect

    first, second, *_ = hand_set("ood").deals
    replies = [
        json_reply(first, solutions(first.values, 24)[0]),
        "The answer is " + solutions(second.values, 24)[0],
        "6*4*1*1",
    ]
    outputs = [ModelOutput.from_content("mockllm/model", text) for text in replies]
    for output in outputs:
        output.usage = ModelUsage()  # else it counts tokens with a tokenizer that it downloads
    model = get_model("mockllm/model", custom_outputs=outputs)
    (log,) = inspect_ai.eval(
        for_inspect.deals("ood"),
        model=model,
        limit=3,
        max_connections=1,
        log_dir=str(tmp_path),
        display="none",
    )
    assert log.status == "success"
    shares = {score.name: score.metrics["mean"].value for score in log.results.scores if score.metrics}
    assert shares["correct"] == pytest.approx(2 / 3)
    assert shares["wrong_numbers"] == pytest.approx(1 / 3)
    assert "6*4*1*1" in {sample.scores["verdict"].answer for sample in log.samples}
