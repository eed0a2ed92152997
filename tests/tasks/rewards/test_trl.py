"""Plain TRL on the shipped nano base, with the rows of ``points24 deals --format trl``."""

import json

import pytest

from points24.harness.checkpoints.shipped import model_folder
from points24.harness.cli import main
from points24.rewards import trl_reward, using

pytest.importorskip("trl", reason="needs trl: pip install 'points24[train]'")


@pytest.mark.slow
def test_ten_steps_of_grpo_log_the_verdicts(tmp_path):
    from datasets import load_dataset
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    rows = tmp_path / "ood.jsonl"
    assert main(["deals", "id", "--format", "trl", "-o", str(rows)]) == 0
    settings = GRPOConfig(
        output_dir=str(tmp_path / "out"), max_steps=10, per_device_train_batch_size=8, num_generations=4,
        max_completion_length=48, learning_rate=1e-5, logging_steps=1, save_strategy="no", report_to="none",
        use_cpu=True, bf16=False, gradient_checkpointing=False, seed=0,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=str(model_folder("nano-base")),
        reward_funcs=using(trl_reward, table="verdict", extraction="strict-match"),
        args=settings,
        train_dataset=load_dataset("json", data_files=str(rows), split="train", cache_dir=str(tmp_path)),
    )
    trainer.train()
    steps = [row for row in trainer.state.log_history if "reward" in row]
    assert len(steps) == 10
    for row in steps:
        shares = {key.removeprefix("verdict/"): value for key, value in row.items() if "verdict/" in key}
        assert sum(shares.values()) == pytest.approx(1)
        paid = (
            5 * shares["correct"]
            - shares["wrong_value"]
            - 2 * (shares["wrong_rule"] + shares["wrong_numbers"])
        )
        assert row["reward"] == pytest.approx(paid - 3 * (shares["illegal"] + shares["no_answer"]), abs=1e-5)
    assert max(row["verdict/correct"] for row in steps) > 0
    json.dumps(steps)
