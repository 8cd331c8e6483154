"""Which validations of a run can be compared with each other."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytorch_lightning as pl

from aeframe.config.options import Training
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.errors import Problem
from aeframe.core.schedules import Clock, Schedule


def changing(module: pl.LightningModule) -> list[str]:
    """The keys of the schedules of a run's objective that have not ended; see ConstrainedAutoencoder."""
    net = module.net
    assert isinstance(net, ConstrainedAutoencoder)
    return net.changing


def is_settled(trainer: pl.Trainer) -> bool:
    """Check whether the objective stays as it is now: before that no validation is the best, and none ends
    training.
    """
    return not changing(trainer.lightning_module)


def planned_end(training: Training, batches: int) -> Clock | None:
    """Where training ends by its limits of epochs and steps, if it has any. batches: of an epoch."""
    limit, epochs = training.limit_train_batches, training.max_epochs
    if limit is not None:
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    each = max(1, math.ceil(batches / training.accumulate_grad_batches))
    steps = min(training.max_steps or math.inf, each * epochs if epochs else math.inf)
    return None if steps == math.inf else Clock(int(steps), steps / each)


def schedule_notes(schedules: Mapping[str, Schedule], end: Clock | None) -> list[Problem]:
    """Warn of schedules that are longer than training. end: of training, if known."""
    what = (
        "this schedule is longer than training: the last weights are kept, not the best, and neither "
        "until nor early_stopping ends training"
    )
    return [
        Problem(key, what, f"Write fewer {schedule.unit}, or train for longer.")
        for key, schedule in schedules.items()
        if end is not None and not schedule.repeats and not schedule.has_ended(end)
    ]
