"""Callbacks that stop training: a wanted level, and patience."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.trainer.states import TrainerFn

from aeframe.config.options import EarlyStoppingOptions, UntilOptions
from aeframe.evaluation.metric_names import find_better
from aeframe.training.objective import is_settled


class Until(pl.Callback):
    """Callback that stops training once a metric reaches a wanted level, after all schedules have ended.

    reached: afterwards, whether a validation reached the level; None if no level was wanted.
    """

    def __init__(self, wanted: UntilOptions) -> None:
        self.wanted = wanted
        self.reached: bool | None = None if wanted.metric is None else False

    @property
    def may_stop(self) -> bool:
        """Check whether the callback can end training."""
        return self.wanted.metric is not None

    @property
    def message(self) -> str | None:
        """Sentence that says whether the level was reached; None if no level was wanted."""
        if self.reached is None:
            return None
        reached = "reached" if self.reached else "NOT reached"
        return f"The wanted level {self.wanted.level} was {reached}."

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metric = self.wanted.metric
        if metric is None or trainer.sanity_checking or not _may_end(trainer):
            return
        if self.wanted.is_reached_by(float(trainer.callback_metrics[metric])):
            self.reached, trainer.should_stop = True, True


def _may_end(trainer: pl.Trainer) -> bool:
    """Check for min_epochs, min_steps and a settled objective, before which no validation ends training."""
    epochs = trainer.current_epoch + trainer.is_last_batch
    enough = epochs >= (trainer.min_epochs or 0) and trainer.global_step >= (trainer.min_steps or 0)
    return enough and is_settled(trainer)


class EarlyStopping(pl.callbacks.EarlyStopping):
    """Callback that stops training when the metric `monitor` no longer improves; see the options.

    Only validations after all schedules have ended count. Those before trainer.min_epochs count, too, but do
    not end training.
    """

    def __init__(self, monitor: str, options: EarlyStoppingOptions) -> None:
        assert options.patience != "auto"
        super().__init__(
            monitor,
            min_delta=options.min_delta,
            patience=options.patience or 1,
            mode=find_better(monitor),
            check_finite=False,
            check_on_train_epoch_end=False,  # without validation if max_steps ends the epoch
        )
        self.may_stop, self.warmup_epochs = options.patience is not None, options.warmup_epochs
        self.stopped = False

    @property
    def message(self) -> str | None:
        """Sentence that explains the stop; None if something else ended training."""
        if not self.stopped:
            return None
        return f"Stopped early: {self.monitor} had not improved in {self.patience} validations."

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the counts. The patience is the configuration's."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        fits = trainer.state.fn == TrainerFn.FITTING  # not in the validation after it
        counts = trainer.current_epoch >= self.warmup_epochs and is_settled(trainer)
        if self.may_stop and fits and counts:
            before = trainer.should_stop
            super().on_validation_end(trainer, pl_module)
            if not _may_end(trainer):
                trainer.should_stop = before
            # not stopped_epoch: testing the best checkpoint overwrites it
            self.stopped = trainer.should_stop and not before
