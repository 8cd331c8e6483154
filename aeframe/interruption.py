"""Signals that end a run: it stops where it can go on."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

REQUEUE = signal.SIGUSR1
SIGNALS = (signal.SIGINT, signal.SIGTERM, REQUEUE)


class Interrupted(BaseException):
    """A signal ended training, after a checkpoint in the run's folder. status: what the process ends with.

    No Exception, as KeyboardInterrupt is none: nothing went wrong.
    """

    def __init__(self, number: int, folder: Path) -> None:
        self.number, self.folder = signal.Signals(number), folder
        self.status = 128 + number
        super().__init__(number, folder)  # the arguments, so that it survives pickling

    def __str__(self) -> str:
        run = shlex.quote(f"resume={self.folder}")
        return f"interrupted by {self.number.name}; {run} goes on from here"


class Signals:
    """Remembers the first signal, for whoever can stop; a second SIGINT stops at once."""

    def __init__(self) -> None:
        self.received = 0

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Take the signals for a while, in which there is something to be saved."""
        before = {number: signal.signal(number, self._note) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = self.received or number
