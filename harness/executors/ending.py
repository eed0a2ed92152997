"""Ending well: SIGTERM ends a command as Ctrl-C does, and its child processes end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, FunctionType
from typing import Any

_GRACE = 30
"""Seconds that a child has to end by itself; SLURM gives as many."""
_running: set[subprocess.Popen[Any]] = set()


class Terminated(KeyboardInterrupt):
    """SIGTERM, which a batch system sends before it kills."""


@contextmanager
def terminable() -> Iterator[None]:
    """Within the block, SIGTERM raises `Terminated` in the main thread; outside that, nothing changes.

    Python swallows what a destructor raises: an interrupt that comes within one is raised again after it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would interrupt the tidying up
        raise Terminated

    def again(swallowed: sys.UnraisableHookArgs) -> None:
        if not isinstance(swallowed.exc_value, KeyboardInterrupt):
            unraisable(swallowed)
            return
        number = signal.SIGINT
        if isinstance(swallowed.exc_value, Terminated):
            number = signal.SIGTERM
            signal.signal(number, terminate)
        threading.Thread(target=send, args=[number], daemon=True).start()

    def send(number: int) -> None:
        while _main_is_in(again):  # where another interrupt would be swallowed as well
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    before, unraisable = signal.signal(signal.SIGTERM, terminate), sys.unraisablehook
    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = unraisable
        signal.signal(signal.SIGTERM, before)


def _main_is_in(function: FunctionType) -> bool:
    """Whether the main thread is within a call of a function."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and frame.f_code is not function.__code__:
        frame = frame.f_back
    return frame is not None


@contextmanager
def keeping_sigterm() -> Iterator[None]:
    """What SIGTERM does stays as it is, whatever a library within the block sets."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def run(command: Sequence[str], **settings: Any) -> int:
    """Run a child process in any thread; returns its exit status. Settings are `subprocess.Popen`'s."""
    with subprocess.Popen(command, **settings) as child:
        _running.add(child)
        try:
            return child.wait()
        except BaseException:
            end_children()
            raise
        finally:
            _running.discard(child)


def end_children() -> None:
    """End what `run` has started, in all threads, and wait for it."""
    children = list(_running)
    for child in children:
        child.terminate()
    for child in children:
        try:
            child.wait(_GRACE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
