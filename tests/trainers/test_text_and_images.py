"""A model of text and images (Llama 3.2 Vision's architecture), trained on text alone."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    MllamaConfig,
    MllamaForConditionalGeneration,
)

from points24.harness.checkpoints.shipped import model_folder

pytest.importorskip("trl")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parent")
    tokenizer = AutoTokenizer.from_pretrained(model_folder("nano-base"))
    text = {
        "hidden_size": 32, "num_hidden_layers": 4, "cross_attention_layers": [1, 3], "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 64, "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.eos_token_id,
        "eos_token_id": tokenizer.eos_token_id, "max_position_embeddings": 512,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_global_layers": 1, "attention_heads": 4, "intermediate_size": 64,
        "vision_output_dim": 64, "image_size": 28, "patch_size": 14, "intermediate_layers_indices": [0],
    }  # fmt: skip
    MllamaForConditionalGeneration(MllamaConfig(text_config=text, vision_config=vision)).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("trainer", ["sft", "ppo"])
def test_checkpoints_hold_the_whole_model_and_only_what_text_reaches_has_changed(trainer, parent, tmp_path):
    from points24.trainers import ppo, sft

    common = {
        "output_dir": str(tmp_path / "run"), "model_name_or_path": str(parent), "max_steps": 2, "save_steps": 2,
        "per_device_train_batch_size": 4, "learning_rate": 1e-2, "apply_chat_template": True, "bf16": False,
        "report_to": "none", "score_tasks": [],
    }  # fmt: skip
    if trainer == "sft":
        run = sft.train(common)
    else:
        run = ppo.train(
            common | {"num_iterations": 2, "max_completion_length": 8, "max_turns": 2, "vf_coef": 1.0}
        )
    before = AutoModelForImageTextToText.from_pretrained(parent).state_dict()
    after = AutoModelForImageTextToText.from_pretrained(run.checkpoint(2)).state_dict()
    assert before.keys() == after.keys()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed
    assert not [name for name in changed if "vision" in name or "layers.1." in name or "layers.3." in name]
    tokens = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        whole = AutoModelForImageTextToText.from_pretrained(run.checkpoint(2))(input_ids=tokens).logits
        text = AutoModelForCausalLM.from_pretrained(run.checkpoint(2))(input_ids=tokens).logits
    assert torch.equal(whole, text)  # what `lm_eval --model hf` loads
