import pytest

pytest.importorskip("trl", reason="the trainers need trl: pip install 'points24[train]'")

COMMON = {
    "model_name_or_path": "nano-base",
    "per_device_train_batch_size": 8,
    "learning_rate": 1e-4,
    "bf16": False,
    "gradient_checkpointing": False,
    "save_steps": 4,
    "logging_steps": 1,
    "report_to": "none",
    "score_dtype": "float32",
    "score_batch_size": 32,
    "score_limit": 16,
    "max_steps": 8,
}
ROLLOUTS = COMMON | {"steps_per_generation": 2, "num_iterations": 2, "max_completion_length": 40}
SETTINGS = {
    "sft": COMMON,
    "ppo": ROLLOUTS | {"vf_learning_rate": 1e-3},
    "grpo": ROLLOUTS | {"num_generations": 4},
    "rloo": ROLLOUTS | {"num_generations": 4},
}
"""Two checkpoints in a few seconds on the shipped nano base."""
