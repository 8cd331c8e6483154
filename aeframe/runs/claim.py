"""Claim of a run on its folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aeframe.core.errors import UserError
from aeframe.core.process import is_first_process
from aeframe.runs.checkpoint import Saved, stamp_of
from aeframe.runs.folder import locked, used
from aeframe.runs.layout import CHECKPOINTS, LAST


@contextmanager
def claimed(folder: Path, goes_on: bool, saved: Saved | None) -> Iterator[None]:
    """Reserve the folder for this run. Raises UserError where it belongs to another run or is in
    use.

    goes_on: whether it may hold this run already. saved: the checkpoint that was read from it
    before.
    """
    if not is_first_process():
        yield
        return
    checkpoints = folder / CHECKPOINTS
    with locked(folder):
        try:
            checkpoints.mkdir(exist_ok=goes_on)
        except FileExistsError:
            raise used(f"hydra.run.dir={folder}") from None
        if goes_on and stamp_of(checkpoints / LAST) != (saved.stamp if saved else None):
            what = "another process trained in it since this one looked"
            raise UserError(f"hydra.run.dir={folder}", what, "Start the command again.")
        try:
            yield
        finally:
            with suppress(OSError):  # unless it is empty
                checkpoints.rmdir()
