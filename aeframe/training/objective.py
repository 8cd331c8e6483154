"""Objective of a run: validations are comparable once no schedule changes it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytorch_lightning as pl

from aeframe.config.options import Training
from aeframe.constraints.constrained import ConstrainedAutoencoder
from aeframe.core.errors import Problem
from aeframe.core.schedules import Clock, Schedule


def list_changing(module: pl.LightningModule) -> list[str]:
    """List the keys of schedules that still change the objective; see ConstrainedAutoencoder."""
    net = module.net
    assert isinstance(net, ConstrainedAutoencoder)
    return net.changing


def is_settled(trainer: pl.Trainer) -> bool:
    """Check whether the objective no longer changes.

    Before that, no validation counts as the best, and none ends training.
    """
    return not list_changing(trainer.lightning_module)


def plan_end(training: Training, batches: int) -> Clock | None:
    """Compute where limits of epochs and steps end training; None without limits. batches: per epoch."""
    limit, epochs = training.limit_train_batches, training.max_epochs
    assert epochs != "auto"
    if limit is not None:
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    each = max(1, math.ceil(batches / training.accumulate_grad_batches))
    steps = min(training.max_steps or math.inf, each * epochs if epochs else math.inf)
    return None if steps == math.inf else Clock(int(steps), steps / each)


def list_schedule_notes(schedules: Mapping[str, Schedule], end: Clock | None) -> list[Problem]:
    """List a warning for each schedule that is longer than training. end: of training, if known."""
    what = (
        "this schedule is longer than training: the last weights are kept, not the best, and "
        "until and early_stopping have no effect"
    )
    return [
        Problem(key, what, f"Write fewer {schedule.unit}, or train for longer.")
        for key, schedule in schedules.items()
        if end is not None and not schedule.repeats and not schedule.has_ended(end)
    ]
