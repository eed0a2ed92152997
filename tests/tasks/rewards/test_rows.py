"""The rows that trainers read, as ``points24 deals`` writes them, and what the adapters pay on them."""

from typing import Any

import pytest
from datasets import load_dataset

from points24.harness.cli import main
from points24.rewards import openrlhf_reward, trl_reward, verl_compute_score
from points24.tasks.cards import RULES, Deal
from points24.tasks.hand_sets import hand_set
from points24.tasks.prompts import json_reply, template
from points24.tasks.rewards.rows import FORMATS

# The first deal of `ood`.
DEAL = Deal(("10", "J", "3", "Q"), RULES["ood"])
COLUMNS = {"cards": ["10", "J", "3", "Q"], "rule": "ood", "target": 24}
LABEL = '{"cards": ["10", "J", "3", "Q"], "rule": "ood", "target": 24}'
PROMPT = [{"role": "user", "content": template().render(DEAL)}]
EXPECTED = {
    "trl": {"prompt": PROMPT, **COLUMNS},
    "verl": {
        "data_source": "points24/ood",
        "prompt": PROMPT,
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": LABEL},
        "extra_info": {"index": 0, **COLUMNS},
    },
    "openrlhf": {"prompt": PROMPT, "label": LABEL},
}
REPLIES = [json_reply(DEAL, "(10+3-11)*12"), json_reply(DEAL, "10+3+10+1")]


def paid(form, row, reply):
    """As the trainer calls the adapter with a row of its own."""
    if form == "trl":
        columns: dict[str, Any] = {name: [row[name]] for name in COLUMNS}
        return trl_reward([row["prompt"]], [reply], **columns)[0]
    if form == "verl":
        truth = row["reward_model"]["ground_truth"]
        return verl_compute_score(row["data_source"], reply, truth, row["extra_info"])["score"]
    prompt = row["prompt"][0]["content"]
    return openrlhf_reward([prompt + reply + "<|im_end|>"], [prompt], [row["label"]])["rewards"].item()


@pytest.mark.parametrize("file", ["deals.jsonl", "deals.parquet"])
@pytest.mark.parametrize("form", FORMATS)
def test_a_trainers_rows_hold_what_its_adapter_reads(tmp_path, form, file):
    path = tmp_path / file
    assert main(["deals", "ood", "--format", form, "-o", str(path)]) == 0
    kind = "json" if path.suffix == ".jsonl" else "parquet"
    data = load_dataset(kind, data_files=str(path), split="train", cache_dir=str(tmp_path))
    assert len(data) == len(hand_set("ood"))
    assert data[0] == EXPECTED[form]
    assert [paid(form, data[0], reply) for reply in REPLIES] == [1, 0]
