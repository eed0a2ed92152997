"""How far an experiment is: a line per stage, and one that follows the stages where they run unseen."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

from tqdm import tqdm

_SECONDS = 2.0
"""Between two looks at the logs."""
_TAIL = 4096
_PERCENT = re.compile(rb"(\d+)%[|)]")
"""In the progress lines of a stage: tqdm's, and those of training without a terminal."""


class Progress:
    """For a `with` block in which the stages run.

    Args:
        total: stages in all.
        unseen: the stages write to their logs alone.
    """

    def __init__(self, total: int, *, unseen: bool):
        self._bar = tqdm(total=total, desc="stages", unit="stage", disable=None if unseen else True)
        self.unseen = unseen
        self._running: dict[str, Path] = {}
        self._done, self._total = 0, total
        self._end = Event()
        self._follower = Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Progress:
        if not self._bar.disable:
            self._follower.start()
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._end.set()
        self._bar.close()

    def begins(self, stage: str, command: str, log: Path) -> None:
        self._running[stage] = log
        number = self._done + len(self._running)
        where = f" (log: {log})" if self.unseen else ""
        self._say(f"{number} of {self._total}, {stage}: {command}{where}")

    def ends(self, stage: str, seconds: float | None = None) -> None:
        """With the seconds that it took; None for one that was done before."""
        if seconds is not None and self.unseen:
            self._say(f"{stage} took {seconds:.0f} s")
        self._running.pop(stage, None)
        self._done += 1
        self._bar.update()

    def _say(self, text: str) -> None:
        with self._bar.external_write_mode(sys.stderr):
            print(f"points24: {text}", file=sys.stderr, flush=True)

    def _follow(self) -> None:
        while not self._end.wait(_SECONDS):
            shown = (f"{stage} {_percent(log)}".rstrip() for stage, log in sorted(self._running.items()))
            self._bar.set_postfix_str(", ".join(shown))


def _percent(log: Path) -> str:
    """How far a stage is, by the last progress line in its log; empty without one."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        found = _PERCENT.findall(file.read())
    return f"{found[-1].decode()} %" if found else ""
