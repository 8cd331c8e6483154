"""Regular files: a name in an unknown folder may be that of a pipe or a device."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path


class IrregularError(OSError):
    """The path is a pipe, a device, a socket or a folder; opening or reading it may never end."""


def require_regular(file: Path) -> None:
    """Raise IrregularError unless the path is a file or a link to one. Raises OSError if it is missing."""
    if not stat.S_ISREG(os.stat(file).st_mode):
        raise IrregularError("it is not a regular file")


def open_regular(file: Path) -> BufferedReader:
    """Open a file to read its bytes. Raises as require_regular does."""
    require_regular(file)  # before opening, which may already change a device
    opened = open(file, "rb", opener=_open_without_waiting)  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):  # it was replaced in between
        opened.close()
        raise IrregularError("it is not a regular file")
    return opened


def _open_without_waiting(path: str, flags: int) -> int:
    # Windows has neither the flag nor pipes in folders
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_text(file: Path, most: int) -> str:
    """Read a text in UTF-8. most: the largest size, in bytes.

    Raises ValueError for a larger file or other encodings, and the errors of require_regular.
    """
    with open_regular(file) as opened:
        content = opened.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return content.decode("utf-8")
