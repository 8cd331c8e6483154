"""The reasons why training ended: as keys, and in words."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Timer

from aeframe.core.schedules import Clock
from aeframe.training.stopping import EarlyStopping, Until


def epochs_of(end: Clock) -> int:
    """Count the epochs that training was in; the last may not be whole."""
    return math.ceil(end.epoch)


def ended_by(trainer: pl.Trainer, end: Clock) -> list[str]:
    """The keys that let training end where it did: each of them would have. end: how far it came."""
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


def in_words(trainer: pl.Trainer, end: Clock, limit: str | None) -> list[str]:
    """Say why training ended, unless it was the number of epochs or steps. limit: of time."""
    callbacks: Iterable[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    said = [c.said for c in callbacks if isinstance(c, Until | EarlyStopping)]
    if "trainer.max_time" in ended_by(trainer, end):
        said.append(f"Stopped by trainer.max_time={limit}, in epoch {epochs_of(end)}.")
    return [text for text in said if text is not None]
