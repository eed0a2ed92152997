"""Every family: each element is that of a full fp64 SVD of each logical matrix, and transformers loads the result."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig

from points24.harness.recovery.families.layouts import gate_up_either_way
from points24.harness.recovery.families.table import FAMILIES, family_of
from points24.tasks.errors import InputError
from tests.harness.recovery.models import CONFIGS, auto_class, make_pair
from tests.harness.recovery.test_recover import recover, spliced, weights

Apart = Callable[[Tensor], Sequence[Tensor]]


def of_each(apart: Apart) -> Apart:
    return lambda stack: [piece for matrix in stack for piece in apart(matrix)]


def rows(*sizes: int) -> Apart:
    return lambda t: t.split(sizes)


def halves(axis: int) -> Apart:
    return lambda t: t.chunk(2, axis)


def groups(queries: int) -> Apart:
    """Falcon's: heads of 8; each group's queries, key and value."""

    def apart(t: Tensor) -> Sequence[Tensor]:
        by_group = t.unflatten(0, (-1, queries + 2, 8))
        return by_group[:, :-2], by_group[:, -2], by_group[:, -1]

    return apart


def per_head(*sizes: int) -> Apart:
    return lambda t: t.unflatten(0, (4, sum(sizes))).split(sizes, 1)


# How the code of each model takes its fused tensors apart, as views: the end of the name -> the pieces.
STACK: Apart = Tensor.unbind
EXPERTS = {"experts.gate_up_proj": of_each(halves(0)), "experts.down_proj": STACK}
GRANITE = {"input_linear.weight": of_each(halves(0)), "output_linear.weight": STACK}
LLAMA4 = {"experts.gate_up_proj": of_each(halves(1)), "experts.down_proj": STACK}
LATENT = {"kv_a_proj_with_mqa.weight": rows(12, 4), "kv_b_proj.weight": per_head(6, 8)}
GATE_UP = {"gate_up_proj.weight": halves(0)}
MAMBA = {"in_proj.weight": halves(0), "x_proj.weight": rows(3, 6, 6)}
FUSED: dict[str, dict[str, Apart]] = {
    "phi3": GATE_UP | {"qkv_proj.weight": rows(32, 16, 16)},
    "glm": GATE_UP,
    "glm4": GATE_UP,
    "gpt2": {"c_attn.weight": lambda t: t.chunk(3, 1)},
    "gpt_neox": {"query_key_value.weight": lambda t: t.unflatten(0, (4, 3, 8)).unbind(1)},
    "falcon": {"query_key_value.weight": rows(32, 8, 8)},
    "falcon-new": {"query_key_value.weight": groups(2)},
    "falcon-rw": {"query_key_value.weight": groups(1)},
    "granitemoe": GRANITE,
    "granitemoeshared": {
        "shared_mlp.input_linear.weight": halves(0),
        "shared_mlp.output_linear.weight": lambda t: [t],
        **GRANITE,
    },
    "gpt_oss": EXPERTS | {"experts.gate_up_proj": of_each(lambda t: (t[:, ::2], t[:, 1::2]))},
    "llama4_text": LLAMA4,
    "llama4": LLAMA4,
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT,
    "qwen3_vl_moe": EXPERTS,
    "mamba": MAMBA,
    "falcon_mamba": MAMBA,
    "mamba2": {"in_proj.weight": rows(64, 64, 12, 12, 8)},
}
NO_MATRIX = ("bias", "A_log", "conv1d.weight")
OUTSIDE = ("vision", "visual", "multi_modal")
MATRICES = {
    **dict.fromkeys(("falcon", "falcon-new", "falcon-rw", "gpt2", "gpt_neox"), 2 * (3 + 1 + 2)),
    **dict.fromkeys(
        ("mixtral", "qwen3_moe", "olmoe", "gpt_oss", "granitemoe", "qwen3_vl_moe"), 2 * (4 + 1 + 9)
    ),
    "qwen2_moe": 2 * (4 + 1 + 9 + 3 + 1),
    "granitemoeshared": 2 * (4 + 1 + 9 + 3),
    **dict.fromkeys(("llama4", "llama4_text"), (4 + 3) + (4 + 1 + 9 + 3)),
    "glm4_moe": (4 + 3) + (4 + 1 + 12 + 3),
    "deepseek_v2": 2 * (1 + 2 + 2 + 1) + 3 + (1 + 12 + 3),
    "deepseek_v3": 2 * (2 + 2 + 2 + 1) + 3 + (1 + 12 + 3),
    **dict.fromkeys(("mamba", "falcon_mamba"), 2 * (2 + 3 + 1 + 1)),
    "mamba2": 2 * (5 + 1),
}
"""Inside two layers; by default four of attention and three of the feed-forward network each."""


def by_hand(family: str, name: str, source: Tensor, target: Tensor) -> tuple[Tensor, int]:
    """What a tensor should become, and how many matrices it holds."""
    inside = any(f".{word}." in f".{name}" for word in ("layers", "h")) and not name.startswith(OUTSIDE)
    if not inside or target.dim() < 2 or name.endswith(NO_MATRIX) or "visual" in name:
        return target, 0
    apart = next((a for end, a in FUSED.get(family, {}).items() if name.endswith(end)), lambda t: [t])
    result = target.clone()
    pieces = list(zip(apart(source), apart(target), apart(result), strict=True))
    for s, t, into in pieces:
        columns = t.shape[-1]
        into.copy_(spliced(s.reshape(-1, columns), t.reshape(-1, columns)).view_as(into))
    return result, len(pieces)


@pytest.mark.parametrize("family", CONFIGS)
def test_every_element_is_the_full_svds_and_transformers_loads_the_result(family, tmp_path, capsys):
    source, target = make_pair(tmp_path, family)
    assert recover(source, target, tmp_path / "out", "--ranks", "top 25%") == 0
    capsys.readouterr()
    b, t, result = weights(source), weights(target), weights(tmp_path / "out")
    assert list(result) == list(t)
    matrices = elements = different = 0
    for name, tensor in result.items():
        expected, inside = by_hand(family, name, b[name], t[name])
        matrices += inside
        elements += tensor.numel() if inside else 0
        different += int((tensor != expected).sum())
        assert not inside or not torch.equal(tensor, t[name]), name
    assert different == 0
    assert matrices == MATRICES.get(family, 14)
    print(f"{family}: {matrices} matrices, {elements} elements, {different} different")
    config = AutoConfig.from_pretrained(tmp_path / "out")
    _, info = auto_class(config).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values()), info


def test_every_family_has_a_tiny_model():
    assert {config().model_type for config in CONFIGS.values()} == set(FAMILIES)


@pytest.mark.parametrize(
    ("shape", "expert"),
    [((2, 24, 32), (slice(0, 12), slice(None))), ((2, 32, 24), (slice(None), slice(0, 12)))],
)
def test_qwen3_vls_experts_are_read_as_they_are_stored(shape, expert):
    first, *_ = gate_up_either_way({"hidden_size": 32}, shape)
    index = first[2][1:]
    assert torch.equal(
        torch.arange(24 * 32).view(shape[1:])[index], torch.arange(24 * 32).view(shape[1:])[expert]
    )


def test_qwen3_vls_square_experts_are_refused():
    with pytest.raises(InputError, match="which side is gate and up"):
        gate_up_either_way({"hidden_size": 32}, (2, 32, 32))


def test_stacked_experts_are_matrices_of_their_own():
    """As transformers holds mixtures of experts in memory, and as some checkpoints store them."""
    family = FAMILIES["mixtral"]
    parts = family.parts("model.layers.1.mlp.experts.gate_up_proj", (3, 48, 32), {})
    assert [(p.module, p.layer, p.shape((3, 48, 32))) for p in parts] == 3 * [
        ("gate_proj", 1, (24, 32)), ("up_proj", 1, (24, 32)),
    ]  # fmt: skip
    tensor = torch.arange(3 * 48 * 32).view(3, 48, 32)
    assert torch.equal(torch.stack([p.matrix(tensor) for p in parts]).view(3, 48, 32), tensor)
    for part in parts:
        assert torch.equal(part.row_starts((3, 48, 32)), part.matrix(tensor)[:, 0])
    down = family.parts("model.layers.1.mlp.experts.down_proj", (3, 32, 24), {})
    assert [(p.module, p.shape((3, 32, 24))) for p in down] == 3 * [("down_proj", (32, 24))]


def test_only_the_language_model_of_one_of_text_and_images_is_touched():
    family = FAMILIES["mllama"]
    shape = (8, 8)
    for prefix in ("language_model.model.", "model.language_model."):
        (part,) = family.parts(f"{prefix}layers.3.cross_attn.q_proj.weight", shape, {})
        assert (part.module, part.layer) == ("q_proj", 3)
    assert not family.parts("vision_model.transformer.layers.3.self_attn.q_proj.weight", shape, {})
    assert not family.parts("model.vision_model.global_transformer.layers.3.mlp.fc1.weight", shape, {})


def test_layers_that_predict_further_tokens_are_not_the_models_own():
    family = family_of({"model_type": "deepseek_v3", "num_hidden_layers": 61})
    assert family.layer("model.layers.60.mlp.gate.weight") == 60
    assert family.layer("model.layers.61.eh_proj.weight") is None
    assert not family.is_unclear("model.layers.61.eh_proj.weight", (8, 16))


def test_an_unknown_family_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"model type 'rwkv': expected one of llama, .*--layer-prefix"):
        family_of({"model_type": "rwkv"})
