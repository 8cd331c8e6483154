"""Files that are whole or not there, and disks that have no room for them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""What the operating system says of a disk, not of the name of a file."""


@contextmanager
def write_atomically(target: Path, partial: str = ".partial") -> Iterator[BinaryIO]:
    """A file to be written beside its place, into which it is put when it is whole.

    Also where the power fails: what it holds is on the disk before its name is, and that before this
    returns. partial: its name until then, which no one looks for.
    """
    beside = target.with_name(partial)
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
        _sync(target.parent)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def _sync(folder: Path) -> None:
    """Put the names in a folder on the disk, where the system can: Windows opens none."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def find_os_error(error: BaseException) -> OSError | None:
    """What the operating system said, also where torch wraps it."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, OSError):
        found = found.__context__
    return found


def find_filename(error: OSError) -> str | None:
    """The file that the operating system complained of, as text: some libraries name it in bytes."""
    name = error.filename
    return os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else None
