"""Claim of a run on its folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aeframe.core.errors import UserError
from aeframe.core.process import is_first_process
from aeframe.runs.checkpoint import Saved, get_stamp
from aeframe.runs.folder import build_used_error, lock_folder
from aeframe.runs.layout import CHECKPOINTS, LAST


@contextmanager
def claim_folder(folder: Path, resumes: bool, saved: Saved | None) -> Iterator[None]:
    """Reserve the folder for this run. Raises UserError if it belongs to another run or is in
    use.

    resumes: whether the folder may hold this run already. saved: the checkpoint that was read from it
    before.
    """
    if not is_first_process():
        yield
        return
    checkpoints = folder / CHECKPOINTS
    with lock_folder(folder):
        try:
            checkpoints.mkdir(exist_ok=resumes)
        except FileExistsError:
            raise build_used_error(folder) from None
        if resumes and get_stamp(checkpoints / LAST) != (saved.stamp if saved else None):
            what = "another process has trained in it in the meantime"
            raise UserError(f"hydra.run.dir={folder}", what, "Start the command again.")
        try:
            yield
        finally:
            with suppress(OSError):  # unless it is empty
                checkpoints.rmdir()
