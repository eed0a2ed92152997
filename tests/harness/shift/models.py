"""Models of a few thousand parameters that read the nano family's tokens, and one that is scripted."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from points24.harness.checkpoints.shipped import model_folder

TOKENIZER = AutoTokenizer.from_pretrained(model_folder("nano-plain"))
FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def tiny(seed: int, context: int = 256) -> LlamaForCausalLM:
    """A random model, far from uniform."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(TOKENIZER),
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=context,
            pad_token_id=TOKENIZER.pad_token_id,
            bos_token_id=None,
            eos_token_id=TOKENIZER.eos_token_id,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def saved(folder: Path, seed: int, context: int = 256) -> Path:
    """A folder with a random model and the tokenizer."""
    tiny(seed, context).save_pretrained(folder)
    for name in FILES:
        shutil.copy(model_folder("nano-plain") / name, folder / name)
    return folder


class Scripted(nn.Module):
    """A model that knows what to reply to some prompts, and nothing else.

    As long as a sequence follows a scripted one, the next token of the script has the probability `sure` and
    all others share the rest; elsewhere every token is equally likely.
    """

    def __init__(self, scripts: list[tuple[int, ...]], vocabulary: int, sure: float):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 1)
        self.scripts, self.vocabulary, self.sure = scripts, vocabulary, sure

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def forward(self, input_ids, attention_mask, **options):
        logits = torch.zeros(*input_ids.shape, self.vocabulary)
        for row, ids in enumerate(input_ids.tolist()):
            for place in range(len(ids)):
                begun = tuple(ids[: place + 1])
                script = next(
                    (s for s in self.scripts if s[: place + 1] == begun and len(s) > place + 1), None
                )
                if script is not None:
                    logits[row, place] = torch.tensor((1 - self.sure) / (self.vocabulary - 1)).log()
                    logits[row, place, script[place + 1]] = torch.tensor(self.sure).log()
        return SimpleNamespace(logits=logits, hidden_states=())
