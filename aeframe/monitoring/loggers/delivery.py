"""Delivery: a callback that sends a run to its loggers, while it trains and at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.trainer.states import TrainerFn

from aeframe.core.errors import describe_error
from aeframe.monitoring.event_files import Curves
from aeframe.monitoring.loggers.record import Record, RunLogger
from aeframe.monitoring.metrics_file import NAME, Row, join_steps, read_rows

PATIENCE = 10.0
"""Seconds that a stopped run waits for its loggers."""


class Delivery(pl.Callback):
    """Callback that sends new points after each validation, in a thread of its own.

    Only points up to the last checkpoint are sent: a killed run resumes there, and logs the others again,
    perhaps with other values. A validation that comes while the thread is busy is sent with the next one.
    """

    def __init__(
        self, loggers: Mapping[str, RunLogger], folder: Path, node: Mapping[str, Any]
    ) -> None:
        named = loggers.items()
        self.loggers = {k: one for k, one in named if type(one).send is not RunLogger.send}
        self.folder, self.node = folder, node
        self.rows: list[Row] = []  # of which the first are sent
        self.saved = 0  # steps at the last checkpoint
        self.thread: Thread | None = None
        self.failed: set[str] = set()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.saved = trainer.global_step
        if self.loggers and trainer.is_global_zero:
            assert isinstance(trainer.logger, Curves)
            self.rows[:] = read_rows(self.folder / NAME)
            trainer.logger.table.listeners.append(self.rows.extend)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.saved = trainer.global_step

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        fits = trainer.state.fn == TrainerFn.FITTING
        if not (fits and self.rows) or (self.thread is not None and self.thread.is_alive()):
            return
        # at the step of a new checkpoint there is this validation, which a resumed run repeats exactly
        end = self.saved + (self.saved == trainer.global_step)
        rows = join_steps(row for row in self.rows if int(row["step"]) < end)
        if rows:
            if not self.failed:  # what was there before is sent with these
                last = int(rows[-1]["step"])
                self.rows[:] = [row for row in self.rows if int(row["step"]) >= last]
            record = Record(self.folder, self.node, {}, rows)
            self._start(lambda name, logger: logger.deliver(name, record))

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if self.thread is not None:
            self.thread.join(PATIENCE)
            if not self.thread.is_alive():
                self._start(lambda name, logger: logger.stop(name, self.folder))
                self.thread.join(PATIENCE)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Send the rest, with results and pictures, or say why not: the run's own files are complete."""
        if self.thread is not None:
            self.thread.join()
        record = Record(self.folder, self.node, result)
        self._call(lambda name, logger: logger.deliver(name, record), "could not be sent")

    def _start(self, call: Callable[[str, RunLogger], None]) -> None:
        """Call each logger in a new thread, which does not keep the process from ending."""
        what = "cannot be sent now, and is sent later"
        self.thread = Thread(target=self._call, args=(call, what), daemon=True)
        self.thread.start()

    def _call(self, call: Callable[[str, RunLogger], None], what: str) -> None:
        for name, logger in self.loggers.items():
            try:
                call(name, logger)
            except (
                Exception
            ) as error:  # of another package: a server, a full disk, a changed interface
                if f"{name} {what}" not in self.failed:
                    self.failed.add(f"{name} {what}")
                    print(f"logger={name}: the run {what} ({describe_error(error)}).", flush=True)
