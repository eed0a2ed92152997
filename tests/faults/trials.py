"""One trial: a command under a fault, given again, beside what it does undisturbed."""

from __future__ import annotations

import errno
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from tests.faults.scenarios import SCENARIOS, outcome
from tests.faults.world import Ended, Fault, World

_LINE = 2000
"""Characters that an error in one line may have."""
_DAY = 86_400


class Bench:
    """A scenario, ready for trials."""

    def __init__(self, world: World, name: str, scratch: Path):
        self._world, self._scenario, self._scratch = world, SCENARIOS[name], scratch
        self._fresh = scratch / "fresh"
        self._fresh.mkdir(parents=True)
        self._scenario.prepare(self._fresh)
        folder = self._folder()
        self.undisturbed = world.run(self._scenario.command, folder)
        assert self.undisturbed.status == 0, self.undisturbed.text
        self._wanted = outcome(folder, self._scenario.drawn)
        self.struck = 0
        """Trials whose fault has had an effect."""

    def trial(self, fault: Fault, *, twice: bool = False) -> str | None:
        """What is wrong after a fault; None if nothing."""
        folder, words = self._folder(), self._scenario.command
        ends = self._world.run_all([words] * (2 if twice else 1), folder, fault)
        self.struck += any(end.status for end in ends)
        for end in ends:
            if wrong := _wrong_end(end, fault):
                return wrong
        again = self._world.run(words, folder)
        if again.status not in (0, self._scenario.done_again):
            return f"given again it ends with {again.status}: {again.text[-_LINE:]}"
        if (found := outcome(folder, self._scenario.drawn)) != self._wanted:
            names = sorted(
                name
                for name in found.keys() | self._wanted.keys()
                if found.get(name) != self._wanted.get(name)
            )
            return f"another outcome: {', '.join(names[:5])}"
        return None

    def _folder(self) -> Path:
        """A new copy of what the command works on, always under one name, which results may hold."""
        folder = self._scratch / "work"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._fresh, folder, symlinks=True)
        return folder


def _wrong_end(end: Ended, fault: Fault) -> str | None:
    """An end that a fault does not excuse."""
    if "Traceback" in end.text:
        return f"a traceback: {end.text[-_LINE:]}"
    if fault.after is not None:
        allowed = {0, -fault.sends, 128 + fault.sends, 1}
        return None if end.status in allowed else f"ends with {end.status}: {end.text[-_LINE:]}"
    if fault.at and end.status not in (0, 1, 2):
        return f"ends with {end.status}: {end.text[-_LINE:]}"
    return None


def kills(bench: Bench, count: int, seed: int) -> list[Fault]:
    rng = random.Random(seed)
    signals = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
    longest = bench.undisturbed.seconds
    return [Fault(after=rng.uniform(0, longest), sends=rng.choice(signals)) for _ in range(count)]


def disk(bench: Bench, count: int, seed: int) -> list[Fault]:
    """Every change to a file, each with an error that comes in turn, now for good, now once."""
    errors = (errno.ENOSPC, errno.EIO, errno.EROFS)
    return [
        Fault(at=at, error=errors[at % 3], lasts=at % 2 == 0)
        for at in range(1, bench.undisturbed.changes + 1)
    ]


def clock(bench: Bench, count: int, seed: int) -> list[Fault]:
    return [Fault(jump=_DAY)] * count


def twice(bench: Bench, count: int, seed: int) -> list[Fault]:
    return [Fault()] * count


KINDS: dict[str, Callable[[Bench, int, int], list[Fault]]] = {
    "kills": kills,
    "disk": disk,
    "clock": clock,
    "twice": twice,
}
