"""What is printed, where its end may be full or closed."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aeframe.core.errors import MachineError, describe_error


class StandardOutput:
    """A stream whose failure is told as its own: as an OSError it would seem that of a file."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """All of it, or MachineError."""
        with self._told():
            return int(self.stream.write(text))

    def flush(self) -> None:
        """Raises MachineError where something is not taken."""
        with self._told():
            self.stream.flush()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:  # whoever read it has seen enough
            raise
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(
                nowhere, self.stream.fileno()
            )  # what is left of it would fail again at the exit
            os.close(nowhere)
            raise _unwritable(error) from error


@contextmanager
def heard() -> Iterator[None]:
    """Raise MachineError where not all that is printed arrives."""
    stream = sys.stdout
    if stream is None:
        raise _unwritable(OSError(errno.EBADF, os.strerror(errno.EBADF)))
    told: Any = StandardOutput(stream)
    sys.stdout = told
    try:
        yield
        told.flush()
    except SystemExit:  # after a help text
        told.flush()
        raise
    finally:
        sys.stdout = stream


def _unwritable(error: OSError) -> MachineError:
    return MachineError(f"standard output could not be written ({describe_error(error)}).")
