"""A limit on the time that templates of users and of models may take: Jinja's sandbox lets them loop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from points24.tasks.errors import InputError

SECONDS = 10
"""Thousands of times what a template takes."""


@contextmanager
def time_limit(what: str) -> Iterator[None]:
    """Interrupt what takes longer than `SECONDS`, in the main thread of a POSIX system; else without effect.

    Raises:
        InputError: it took longer.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def interrupt(*_: object) -> None:
        raise InputError(f"{what}: not done after {SECONDS} s; does it loop?")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check_chat_template(apply: Callable[[list[dict[str, str]]], Any]) -> None:
    """Render a message once, before a model plays with a chat template that came with it.

    Raises:
        InputError: it takes too long.
    """
    with time_limit("chat template"):
        apply([{"role": "user", "content": "24"}])
