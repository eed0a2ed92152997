"""Children end with their parent, whatever thread waits for them."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from points24.harness.executors import ending

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]


def test_a_childs_status_is_passed_on():
    assert ending.run([sys.executable, "-c", "raise SystemExit(7)"]) == 7


def test_an_interrupt_ends_the_children_of_all_threads():
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(ending.run, SLEEP, stdout=subprocess.DEVNULL) for _ in range(2)]
        while len(ending._running) < 2:
            time.sleep(0.01)
        ending.end_children()
        assert [run.result() for run in runs] == [-15, -15]
    assert time.monotonic() - began < 30


def test_sigterm_to_the_parent_alone_ends_its_child(tmp_path):
    program = (
        "import sys; from points24.harness.executors import ending\n"
        "with ending.terminable():\n"
        "    try: ending.run([sys.executable, '-c', sys.argv[1]])\n"
        "    except ending.Terminated: sys.exit(143)"
    )
    child = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", program, child])
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
        time.sleep(0.01)
    parent.terminate()
    assert parent.wait(30) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_librarys_own_handler_of_sigterm_does_not_stay():
    """As ray.init sets one, which would end a command without a word."""
    with ending.terminable():
        with ending.keeping_sigterm():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with pytest.raises(ending.Terminated):
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("late", [0, 0.2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_comes_within_a_destructor_is_not_lost(number, late, capsys, monkeypatch):
    """Python swallows what `__del__` raises; the command would run to its end."""
    start = threading.Thread.start

    def started(thread: threading.Thread) -> None:
        start(thread)
        time.sleep(late)  # as on a busy machine, where an interrupt that comes too early is swallowed again

    monkeypatch.setattr(threading.Thread, "start", started)

    class Dying:
        def __del__(self) -> None:
            signal.raise_signal(number)

    def sleep_after_it() -> None:
        with ending.terminable():
            Dying()
            time.sleep(10)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored
    try:
        with pytest.raises(KeyboardInterrupt) as raised:
            sleep_after_it()
    finally:
        signal.signal(signal.SIGINT, before)
    assert isinstance(raised.value, ending.Terminated) == (number == signal.SIGTERM)
    assert capsys.readouterr().err == ""
