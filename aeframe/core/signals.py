"""Signals that end a run at a point where it can be resumed."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from aeframe.core.process import get_command

REQUEUE = signal.SIGUSR1
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, REQUEUE)


class Interrupted(BaseException):
    """A signal ended the process; during training, after a checkpoint. status: the exit status.

    folder: of the saved run, if known. onward: how to continue, if not with resume=FOLDER.
    requeues: whether the Slurm job resumes when it starts again.
    Not an Exception, like KeyboardInterrupt: nothing failed.
    """

    def __init__(
        self, number: int, folder: Path | None, onward: str = "", *, requeues: bool = False
    ) -> None:
        self.number, self.folder = signal.Signals(number), folder
        self.onward, self.requeues = onward, requeues
        self.status = 128 + number
        super().__init__(number, folder, onward)  # the arguments, so that it survives pickling

    def describe(self, *others: str) -> str:
        """Describe the end, and how to continue. others: facts to add before that."""
        saved = ["saved"] if self.folder else []
        cause = "Ctrl-C" if self.number == signal.SIGINT else self.number.name
        facts = "; ".join([", ".join([f"stopped by {cause}", *saved]), *others])
        onward = self.onward
        if self.folder and not onward:
            onward = f"{get_command()} {shlex.quote(f'resume={self.folder}')}"
        return f"{facts}. Continue: {onward}" if onward else facts

    def __str__(self) -> str:
        return self.describe()


@contextmanager
def raise_on(numbers: Collection[signal.Signals]) -> Iterator[None]:
    """Raise Interrupted on these signals, while there is nothing to save. SIGINT raises KeyboardInterrupt."""

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
    """Delay SIGINT during imports: libraries swallow the exception and stay half imported."""
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
    """Memory of the first signal, for code that can stop; a second SIGINT stops at once."""

    def __init__(self) -> None:
        self.received = 0

    @contextmanager
    def catch(self) -> Iterator[None]:
        """Catch the signals while there is something to save."""
        in_main = threading.current_thread() is threading.main_thread()  # others get no signals
        # nohup ignores SIGHUP
        active = [n for n in SIGNALS if signal.getsignal(n) != signal.SIG_IGN]
        before = {n: signal.signal(n, self._note) for n in active} if in_main else {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = self.received or number
