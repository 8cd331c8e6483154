"""Folder of a run: whether it is free, and its lock."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident

from aeframe.core.errors import UserError, describe_error
from aeframe.core.process import get_command, shorten_path
from aeframe.runs.layout import CHECKPOINTS, LAST, LOCK, RESULTS


def refuse_used(folder: Path, resumes: bool) -> None:
    """Raise UserError if a run cannot use this folder, because it would overwrite files.

    resumes: whether the folder may hold this run already, if that is not in progress.
    """
    where = f"hydra.run.dir={folder}"
    if has_run(folder):
        if not resumes:
            raise build_used_error(folder)
    elif (name := find_result(folder)) is not None:
        what = f"holds {name} already, which a run would overwrite"
        raise UserError(where, what, "Write another folder.")
    if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        where, what = str(folder), "is not writable"
        raise UserError(where, what, "Copy the run." if resumes else "Write another folder.")
    if (folder / LOCK).exists():
        with lock_folder(folder):
            pass


def has_run(folder: Path) -> bool:
    """Check whether a run was started in a folder."""
    return (folder / "checkpoints").exists() or any(folder.glob("events.out.tfevents.*"))


def refuse_run(folder: Path) -> None:
    """Raise UserError if a sweep cannot use this folder, because a run is in it."""
    if has_run(folder) and not (folder / "multirun.yaml").exists():
        what = "holds a run, but a sweep needs its own folder"
        raise UserError(f"hydra.sweep.dir={folder}", what, "Write another folder.")


def find_result(folder: Path) -> str | None:
    """Find the first result that a run would overwrite in a folder without a run, e.g. an exported model."""
    return next((name for name in RESULTS if (folder / name).exists()), None)


def build_used_error(folder: Path) -> UserError:
    """Build the error for a folder that holds a run, which may be another than the one that was to start."""
    remedy = "Choose another folder, or delete it."
    if (folder / CHECKPOINTS / LAST).exists():
        onward = f"{get_command()} {shlex.quote(f'resume={shorten_path(folder)}')}"
        remedy = f"Choose another folder, delete it, or continue that run: {onward}"
    return UserError(f"hydra.run.dir={folder}", "holds a run already", remedy)


_HELD: dict[Path, int] = {}
"""Folders that this process has locked, and the thread that did."""


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock the folder for this thread, which may lock it again.

    Raises UserError if another process or thread holds the lock.
    """
    import fcntl

    place = folder.absolute()
    if place in _HELD:
        if _HELD[place] != get_ident():
            raise _build_busy_error(folder)
        yield
        return
    try:
        file = (folder / LOCK).open("a")
    except OSError as error:
        if not folder.is_dir():  # the folder was deleted meanwhile
            raise
        what = f"cannot be written ({describe_error(error)})"
        raise UserError(str(folder), what, "Write another folder, or copy the run.") from error
    with file:
        try:
            # not flock(), which data loader workers would keep after a crash
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise _build_busy_error(folder) from None
        except OSError:  # a file system without locks
            pass
        _HELD[place] = get_ident()
        try:
            yield
        finally:
            del _HELD[place]


def _build_busy_error(folder: Path) -> UserError:
    what = "another process is training in it"
    return UserError(str(folder), what, "Wait for its end, or write another folder.")
