"""A process with everything loaded and the shim, which forks one child for each trial: 0.1 s instead of 10."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_SHIM = Path(__file__).with_name("shim.c")


@dataclass(frozen=True)
class Fault:
    """What befalls a command; by default nothing."""

    after: float | None = None
    """Seconds until a signal."""
    sends: int = signal.SIGKILL
    at: int = 0
    """The change to a file that fails, from 1."""
    error: int = errno.ENOSPC
    lasts: bool = True
    """Whether every later one fails, too."""
    jump: int = 0
    """Seconds by which the clock jumps, to and fro, whenever it is read."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    """Its exit status; negative: the signal that ended it."""
    text: str
    """What it printed."""
    changes: int
    """To files below the folder; -1 if it was killed."""
    seconds: float


class World:
    """For a `with` block."""

    def __init__(self, scratch: Path):
        library = scratch / "shim.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-w", "-o", library, _SHIM, "-ldl"], check=True)
        self._command = [sys.executable, "-m", "tests.faults.world", str(library)]
        self._environment = os.environ | {
            "LD_PRELOAD": str(library),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }

    def __enter__(self) -> World:
        self._process: subprocess.Popen[str] = subprocess.Popen(
            self._command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()

    def run(self, words: list[str], folder: Path, fault: Fault | None = None) -> Ended:
        """A `points24` command, with the folder as working directory and as the place where writes fail."""
        (ended,) = self.run_all([words], folder, fault)
        return ended

    def run_all(self, commands: list[list[str]], folder: Path, fault: Fault | None = None) -> list[Ended]:
        """Several at once; the fault befalls each."""
        sent, received = self._process.stdin, self._process.stdout
        assert sent is not None
        assert received is not None
        asked = {"commands": commands, "folder": str(folder), "fault": asdict(fault or Fault())}
        print(json.dumps(asked), file=sent, flush=True)
        return [Ended(**found) for found in json.loads(received.readline())]


def _serve(library: str) -> None:
    """Load everything once, then run what standard input asks for."""
    import lm_eval.models.huggingface
    import torch
    import trl

    from points24.harness import cli
    from points24.harness.recovery import recover  # noqa: F401 — loaded before the first fork
    from points24.harness.sweep import run  # noqa: F401 — likewise
    from points24.leaderboards import build  # noqa: F401 — likewise
    from points24.trainers import sft  # noqa: F401 — likewise

    assert lm_eval.models.huggingface
    assert trl
    torch.set_num_threads(1)  # a forked process has none of its parent's threads
    cli._parser()  # pyright: ignore[reportPrivateUsage]  loads every command
    shim = ctypes.CDLL(library)
    shim.shim_count.restype = ctypes.c_long
    shim.shim_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        asked = json.loads(line)
        children = [_begin(cli, shim, words, asked) for words in asked["commands"]]
        print(json.dumps([_end(*child, asked["fault"]) for child in children]), file=answers, flush=True)


def _begin(cli: Any, shim: Any, words: list[str], asked: dict[str, Any]) -> tuple[int, int, int, float]:
    """Fork a child that runs a command; its number, two pipes and when it began."""
    text_out, text_in = os.pipe()
    count_out, count_in = os.pipe()
    began = time.monotonic()
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    if child := os.fork():
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(text_in)
        os.close(count_in)
        return child, text_out, count_out, began
    os.dup2(text_in, 1)
    os.dup2(text_in, 2)
    sys.stdout = sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 — a descriptor, for this process
    os.chdir(asked["folder"])
    fault = asked["fault"]
    folder = (asked["folder"] + "/").encode()
    shim.shim_arm(folder, fault["at"], fault["error"], fault["lasts"], fault["jump"])
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # not before the command begins
        status = cli.main(words)
    except SystemExit as e:
        status = e.code if isinstance(e.code, int) else 1
    except KeyboardInterrupt:  # on the first line of `main`, as during Python's own start: nothing is begun
        status = 130
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os.write(count_in, str(shim.shim_count()).encode())
        os._exit(status)


def _end(child: int, text_out: int, count_out: int, began: float, fault: dict[str, Any]) -> dict[str, Any]:
    """Wait for a child, send it its signal in time, and say how it ended."""
    text = bytearray()
    os.set_blocking(text_out, False)
    while True:
        try:
            text += os.read(text_out, 1 << 16)
        except BlockingIOError:
            time.sleep(0.002)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if fault["after"] is not None and time.monotonic() - began > fault["after"]:
            os.kill(child, fault["sends"])
            fault = fault | {"after": None}
    seconds = time.monotonic() - began
    try:
        while piece := os.read(text_out, 1 << 16):
            text += piece
    except BlockingIOError:
        pass
    count = os.read(count_out, 32)
    os.close(text_out)
    os.close(count_out)
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    shown = text.decode(errors="replace")
    return {"status": code, "text": shown, "changes": int(count) if count else -1, "seconds": seconds}


if __name__ == "__main__":
    _serve(sys.argv[1])
