import json
import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub
os.environ["TOKENIZERS_PARALLELISM"] = "false"

CASES = Path(__file__).parent / "cases"


def read_cases(name: str) -> list[dict]:
    return [json.loads(line) for line in (CASES / name).read_text("utf-8").splitlines()]


@pytest.fixture(scope="session")
def known_counts() -> dict[str, int]:
    return json.loads((CASES / "known_counts.json").read_text("utf-8"))
