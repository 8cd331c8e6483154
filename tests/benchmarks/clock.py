"""Seconds between the start and the end of a training by Lightning."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytorch_lightning as pl


class Clock(pl.Callback):
    """Clock from the first on_train_start to the last on_train_end.

    It comes before and after all other callbacks, so that their work counts at both ends. It has no hook
    for batches, which would take time itself.
    """

    def __init__(self) -> None:
        self.started: float | None = None
        self.ended: float | None = None

    @property
    def seconds(self) -> float:
        """Raises RuntimeError where Lightning never started or never ended."""
        if self.started is None or self.ended is None:
            raise RuntimeError("no training began and ended under this clock")
        return self.ended - self.started

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = self.started or time.perf_counter()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.ended = time.perf_counter()


@contextmanager
def clocked(package: ModuleType = pl) -> Iterator[Clock]:
    """Put a clock on the trainer that is made and started within.

    package: whose Trainer it is, pytorch_lightning or its twin lightning.pytorch.
    A configuration cannot name a callback, and what lies inside aeframe may change. Trainer.fit and the
    two hooks are Lightning's public interface, through which any training by Lightning passes.
    """
    clock, fit = Clock(), package.Trainer.fit

    def timed_fit(trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        trainer.callbacks[:] = [clock, *trainer.callbacks, clock]
        fit(trainer, *args, **kwargs)

    with patch.object(package.Trainer, "fit", timed_fit):
        yield clock
