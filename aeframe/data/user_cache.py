"""Cache folder of the user, and private files and locks in it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def find_user_cache() -> Path:
    """Find the cache folder of the user."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "aeframe"


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Let one process in at a time, where the platform can lock files."""
    try:
        import fcntl
    except ImportError:  # two processes may decode the same, and the checksum protects the file
        yield
        return
    # neither truncates nor waits: in another user's folder, this may be a link or a pipe
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o600), "rb") as held:
        # released when the file is closed or the process ends
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def write_private(target: Path) -> Iterator[Path]:
    """Make an empty file that only the user can read, and rename it to `target` when it is complete."""
    partial = target.with_suffix(".partial")
    partial.unlink(missing_ok=True)  # may be a link that another user left
    try:
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield partial
        partial.replace(target)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
