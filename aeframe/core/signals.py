"""Signals that end a run: it stops where it can go on."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

REQUEUE = signal.SIGUSR1
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, REQUEUE)


class Interrupted(BaseException):
    """A signal ended the process, in training after a checkpoint. status: what it ends with.

    folder: the run's, if it was known. onward: what goes on from here, if not resume=FOLDER.
    requeues: whether Slurm's job goes on when it is started again.
    No Exception, as KeyboardInterrupt is none: nothing went wrong.
    """

    def __init__(
        self, number: int, folder: Path | None, onward: str = "", *, requeues: bool = False
    ) -> None:
        self.number, self.folder = signal.Signals(number), folder
        self.onward, self.requeues = onward, requeues
        self.status = 128 + number
        super().__init__(number, folder, onward)  # the arguments, so that it survives pickling

    def __str__(self) -> str:
        run = self.onward or (self.folder and shlex.quote(f"resume={self.folder}"))
        return f"interrupted by {self.number.name}" + (f"; {run} goes on from here" if run else "")


@contextmanager
def raise_on(numbers: Collection[signal.Signals]) -> Iterator[None]:
    """Raise Interrupted for these signals where nothing is to be saved. SIGINT has KeyboardInterrupt."""

    def end(number: int, _: FrameType | None) -> None:
        raise Interrupted(number, None)

    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def delay_sigint() -> Iterator[None]:
    """Let SIGINT wait: libraries swallow what is raised while they are imported, and are left in pieces."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda _, frame: came.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            handler(signal.SIGINT, came[0])


class Signals:
    """Remembers the first signal, for whoever can stop; a second SIGINT stops at once."""

    def __init__(self) -> None:
        self.received = 0

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Take the signals for a while, in which there is something to be saved."""
        in_main = threading.current_thread() is threading.main_thread()  # no other gets any
        heard = [n for n in SIGNALS if signal.getsignal(n) != signal.SIG_IGN]  # as nohup has it
        before = {n: signal.signal(n, self._note) for n in heard} if in_main else {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = self.received or number
