"""Files that are complete or absent, and errors of the disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""Error numbers that concern the disk, not the name of a file."""


@contextmanager
def write_atomically(target: Path, partial: str = ".partial") -> Iterator[BinaryIO]:
    """Write a file under a temporary name, and rename it to `target` when it is complete.

    This holds also after a power failure: the content is on the disk before the new name, and the new name
    before this returns. partial: the temporary name.
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
    """Write the names in a folder to the disk, where possible: Windows cannot open folders."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def find_os_error(error: BaseException) -> OSError | None:
    """Find the error of the operating system in an exception, also if torch wraps it."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, OSError):
        found = found.__context__
    return found


def find_filename(error: OSError) -> str | None:
    """Return the name of the file in an error, as text: some libraries name it in bytes."""
    name = error.filename
    return os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else None
