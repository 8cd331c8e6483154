"""Standard output that may be full or closed."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aeframe.core.errors import MachineError, describe_error


class StandardOutput:
    """A stream that raises MachineError if it cannot be written: an OSError would be blamed on a file."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        return int(self._try(self.stream.write, text))

    def flush(self) -> None:
        self._try(self.stream.flush)

    def _try(self, do: Callable[..., Any], *args: str) -> Any:
        try:
            return do(*args)
        except BrokenPipeError:  # the reader has closed it on purpose
            raise
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())  # or Python fails again when it exits
            os.close(nowhere)
            raise _build_error(error) from error


@contextmanager
def check_stdout() -> Iterator[None]:
    """Raise MachineError unless all printed text is written."""
    stream = sys.stdout
    if stream is None:
        raise _build_error(OSError(errno.EBADF, os.strerror(errno.EBADF)))
    checked: Any = StandardOutput(stream)
    sys.stdout = checked
    try:
        yield
        checked.flush()
    except SystemExit:  # after a help text
        checked.flush()
        raise
    finally:
        sys.stdout = stream


def _build_error(error: OSError) -> MachineError:
    return MachineError(f"standard output could not be written ({describe_error(error)}).")
