"""Adapter to Lightning: outside of speed/, the only file that uses its private names.

No public way exists to resume a run at exactly the step where a checkpoint left it. Lightning's own restart
skips a validation that was due, and restarts the epoch's batches.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

# private: the Trainer makes its loops itself, and no hook lies between a batch and the validation after it
from pytorch_lightning.loops.fit_loop import _FitLoop
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop

from aeframe.core.distributed import maximize_over_ranks
from aeframe.core.signals import Interrupted
from aeframe.training.checkpointing import Last


def ignore_signals(trainer: pl.Trainer) -> None:
    """Keep Lightning from handling signals.

    FitLoop notes them while there is something to save. At any other time a signal ends the process at once.
    """
    # private: public options turn off the handler of SIGUSR1 only. That of SIGTERM lets the process run on,
    # and waits for the other ranks, which may not have got the signal
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]


class EpochLoop(_TrainingEpochLoop):
    """Loop over an epoch's batches.

    `last` is saved when a batch is done with all its counts, and before a validation or a schedule that may
    follow it. A resumed run begins with what may follow.
    """

    def __init__(self, plain: _TrainingEpochLoop, last: Last) -> None:
        super().__init__(plain.trainer, plain.min_steps, plain.max_steps)
        self.last = last
        self.resumes = False

    def state_dict(
        self, destination: dict[str, Any] | None = None, prefix: str = ""
    ) -> dict[str, Any]:
        """Return all counts, but none of a validation: if a signal ended one, it is repeated."""
        state = super().state_dict(destination, prefix)
        state[f"{prefix}val_loop.batch_progress"] = type(self.batch_progress)().state_dict()
        return state

    def reset(self) -> None:
        if not self.resumes:  # else all counts are those of the checkpoint
            super().reset()

    def on_run_start(self, data_fetcher: Any) -> None:
        super().on_run_start(data_fetcher)
        if self.resumes:
            self.resumes = False
            super().on_advance_end(data_fetcher)

    def on_advance_end(self, data_fetcher: Any) -> None:
        self.last.after_batch(self.trainer)
        super().on_advance_end(data_fetcher)


class FitLoop(_FitLoop):
    """Loop over epochs; the first may have begun in an earlier process."""

    def __init__(self, trainer: pl.Trainer, last: Last) -> None:
        plain = trainer.fit_loop
        super().__init__(trainer, plain.min_epochs, plain.max_epochs)
        self.epoch_loop: EpochLoop = EpochLoop(plain.epoch_loop, last)

    def run(self) -> None:
        signals = self.epoch_loop.last.signals
        with signals.catch():
            super().run()
        (signal,) = maximize_over_ranks((signals.received,), self.trainer.strategy.root_device)
        if signal:  # it came after the last batch
            raise Interrupted(signal, self.epoch_loop.last.folder)

    def load_state_dict(self, state_dict: dict[str, Any], prefix: str = "") -> None:
        """Restore all counts. Lightning's own method would also begin a restart of its own."""
        batches = self.epoch_loop
        counted = {
            "epoch_progress": self.epoch_progress,
            "epoch_loop.batch_progress": batches.batch_progress,
            "epoch_loop.scheduler_progress": batches.scheduler_progress,
            "epoch_loop.automatic_optimization.optim_progress": batches.automatic_optimization.optim_progress,
        }
        for name, progress in counted.items():
            progress.load_state_dict(state_dict[prefix + name])
        batches.on_load_checkpoint(state_dict[f"{prefix}epoch_loop.state_dict"])
        for counts in (self.epoch_progress.total, self.epoch_progress.current):
            counts.reset_on_restart()
        batches.resumes = True
