"""Reasons why training ended: as keys, and as sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Timer

from aeframe.core.schedules import Clock
from aeframe.training.stopping import EarlyStopping, Until


def count_epochs(end: Clock) -> int:
    """Count the epochs that training began; the last may be incomplete."""
    return math.ceil(end.epoch)


def list_limits(trainer: pl.Trainer, end: Clock) -> list[str]:
    """List the keys whose limits training had reached when it ended. end: the last step and epoch."""
    callbacks: Iterable[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    reached = {
        "trainer.max_steps": 0 <= trainer.max_steps <= end.step,
        "trainer.max_epochs": 0 <= (trainer.max_epochs or -1) <= end.epoch,
        "trainer.max_time": any(_is_over(c) for c in callbacks if isinstance(c, Timer)),
        "until": any(c.reached for c in callbacks if isinstance(c, Until)),
        "early_stopping": any(c.stopped for c in callbacks if isinstance(c, EarlyStopping)),
    }
    return [key for key, is_reached in reached.items() if is_reached]


def _is_over(timer: Timer) -> bool:
    left = timer.time_remaining()
    return left is not None and left <= 0


def explain_end(trainer: pl.Trainer, end: Clock, limit: str | None) -> list[str]:
    """Explain why training ended, unless by the number of epochs or steps. limit: of time."""
    callbacks: Iterable[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    messages = [c.message for c in callbacks if isinstance(c, Until | EarlyStopping)]
    if "trainer.max_time" in list_limits(trainer, end):
        messages.append(f"Stopped by trainer.max_time={limit}, in epoch {count_epochs(end)}.")
    return [text for text in messages if text is not None]
