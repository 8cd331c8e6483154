"""Beginning of a run: the checkpoint from which it resumes."""

from __future__ import annotations

from pathlib import Path

from aeframe.runs.checkpoint import Saved, find_retried_checkpoint, load_state, read_tried_steps
from aeframe.training.attempt import Attempt
from aeframe.training.resume.checkpoint_check import check_fits


def find_beginning(attempt: Attempt, folder: Path, saved: Saved | None) -> Saved | None:
    """Find the checkpoint to start from, or None, and tell the attempt about earlier retries.

    saved: the last checkpoint in the folder. After a divergence an earlier one may be needed.
    Raises UserError if a checkpoint does not belong to the run.
    """
    if saved is not None:
        built = attempt.built
        check_fits(saved, built.module, attempt.trainer, list(built.added.values()))
    tried = () if attempt.built.node["resume"] is None else read_tried_steps(folder)
    attempt.built.module.guard.tried = tried
    if saved is not None and load_state(saved.checkpoint)["guard"]["back"] < len(tried):
        return find_retried_checkpoint(folder, tried)  # the last one was written before the retry
    return saved
