"""Regular files, opened after a look: in a stranger's folder a name may be that of a pipe or a device."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path


class IrregularError(OSError):
    """The path is a pipe, a device, a socket or a folder, which to open or read may never end."""


def require_regular(file: Path) -> None:
    """Raise IrregularError unless the path is a file or a link to one; other OSErrors where none is there."""
    if not stat.S_ISREG(os.stat(file).st_mode):
        raise IrregularError("it is no regular file")


def open_regular(file: Path) -> BufferedReader:
    """Open a file to read its bytes. Raises as require_regular does."""
    require_regular(file)  # before it is opened, which a device would notice
    opened = open(file, "rb", opener=_open_without_waiting)  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):  # it was replaced since
        opened.close()
        raise IrregularError("it is no regular file")
    return opened


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(
        path, flags | getattr(os, "O_NONBLOCK", 0)
    )  # Windows has none, nor pipes in folders


def read_text(file: Path, most: int) -> str:
    """Read a text of at most so many bytes. Raises ValueError for a longer one, or what is no UTF-8, and as
    require_regular does.
    """
    with open_regular(file) as opened:
        content = opened.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return content.decode("utf-8")
