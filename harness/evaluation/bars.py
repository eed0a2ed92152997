"""lm-eval's progress bars, of which a checkpoint has three, two of them without a name."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

from tqdm import tqdm
from tqdm.auto import tqdm as tqdm_auto

_BUILDING = "lm_eval.api.task"
"""Builds the requests, which takes a moment."""
_ENGINES = ("lm_eval.models.", "vllm.")


@contextmanager
def few_bars() -> Iterator[None]:
    """Within the block lm-eval shows generation alone, on a terminal alone, until it is done."""
    with ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if vars(module).get("tqdm") not in (tqdm, tqdm_auto):
                continue
            if name == _BUILDING:
                stack.enter_context(patch.object(module, "tqdm", partial(tqdm, disable=True)))
            elif name.startswith(_ENGINES):
                stack.enter_context(patch.object(module, "tqdm", _fleeting))
        yield


def _fleeting(*args: Any, **settings: Any) -> tqdm[Any]:
    """A bar that goes when it is full; without a terminal nobody sees it.

    It counts there, too: vLLM divides by the time that it has taken.
    """
    output = sys.stderr if sys.stderr.isatty() else io.StringIO()
    return tqdm(*args, **settings | {"file": output, "leave": False})
