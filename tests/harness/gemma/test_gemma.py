"""Gemma 3 270M itself: `points24 model gemma-3-270m` must have written it."""

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from points24.harness.checkpoints.packaged import PACKAGED
from points24.harness.checkpoints.read import open_model
from points24.harness.checkpoints.unpack import _join, _part
from tests.harness.gemma.conftest import NAME

pytestmark = pytest.mark.gemma


@pytest.mark.parametrize(
    ("theirs", "ours", "added"),
    [
        ("token_embd.weight", "model.embed_tokens.weight", 0),
        ("blk.17.attn_output.weight", "model.layers.17.self_attn.o_proj.weight", 0),
        ("blk.3.ffn_down.weight", "model.layers.3.mlp.down_proj.weight", 0),
        ("blk.3.attn_q_norm.weight", "model.layers.3.self_attn.q_norm.weight", 1),  # GGUF stores 1 + w
        ("output_norm.weight", "model.norm.weight", 1),
    ],
)
def test_the_weights_are_those_of_the_packages(theirs, ours, added, folder, tmp_path):
    gguf = pytest.importorskip("gguf", reason="needs the extra `gemma`")
    model = PACKAGED[NAME]
    _join(model, [_part(model, package) for package in model.parts], tmp_path / "joined.gguf")
    stored = next(
        each for each in gguf.GGUFReader(str(tmp_path / "joined.gguf")).tensors if each.name == theirs
    )
    expected = torch.from_numpy(gguf.dequantize(stored.data, stored.tensor_type).copy()) - added
    with safe_open(str(folder / "model.safetensors"), "pt") as file:
        assert torch.equal(file.get_tensor(ours), expected.to(torch.bfloat16))


def test_it_is_a_plain_model(folder):
    checkpoint = open_model(folder)
    assert "quantization_config" not in checkpoint.config
    assert {stored.dtype for stored in checkpoint.tensors.values()} == {"BF16"}
    assert len(checkpoint.tensors) == 236  # the output layer is the embedding
    assert sorted(path.name for path in folder.iterdir()) == [
        *("NOTICE", "chat_template.jinja", "config.json", "generation_config.json"),
        *("model.safetensors", "tokenizer.json", "tokenizer_config.json"),
    ]


def test_it_knows_english_behind_bos_and_hardly_without(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = tokenizer("Water boils at one hundred degrees Celsius and freezes at zero degrees.").input_ids
    with torch.no_grad():
        behind, without = (model(torch.tensor([each])).logits[0, :-1] for each in (ids, ids[1:]))
    wanted = torch.tensor(ids[2:])
    assert torch.nn.functional.cross_entropy(behind[1:], wanted) < 3.5  # nats a token
    assert torch.nn.functional.cross_entropy(without, wanted) > 5
