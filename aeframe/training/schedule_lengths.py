"""Lengths of learning-rate schedules, also for a run that is resumed for more epochs."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import pytorch_lightning as pl

from aeframe.core.errors import Problem, UserError
from aeframe.core.plain import as_mapping, is_count
from aeframe.core.schedules import Clock
from aeframe.runs.checkpoint import Saved

LENGTHS = ("T_max", "total_steps", "total_iters", "epochs")
"""Options of torch's schedules for their length in epochs or steps."""


def stretch_lengths(
    scheduler: Mapping[str, Any], saved: Saved, trainer: Mapping[str, Any], typed: Collection[str]
) -> dict[str, Any]:
    """Return the keys of `scheduler`, with lengths that equalled training's set to those of the new training.

    saved: the run that is resumed. trainer: its new keys. typed: keys of the command line, which stay.
    """
    before, changed = as_mapping(saved.node.get("trainer")), dict(scheduler)
    for key in (k for k in LENGTHS if k in scheduler and f"scheduler.{k}" not in typed):
        by_step = scheduler.get("interval") == "step" and key != "epochs"
        limit = "max_steps" if by_step and before.get("max_steps") else "max_epochs"
        old, new = before.get(limit), trainer.get(limit)
        if not (is_count(old) and is_count(new) and old and new):
            continue
        finished = saved.steps if saved.value is not None else None
        if scheduler[key] == (finished if by_step and limit == "max_epochs" else old):
            changed[key] = math.ceil(scheduler[key] * new / old)
    return changed


def list_length_notes(scheduler: Mapping[str, Any] | None, end: Clock | None) -> list[Problem]:
    """Warn of a learning rate that falls and rises again. end: of training, if it is known."""
    if (
        end is None
        or not scheduler
        or not str(scheduler["_target_"]).endswith(".CosineAnnealingLR")
    ):
        return []
    unit = scheduler.get("interval", "epoch")
    length, whole = scheduler["T_max"], end.step if unit == "step" else math.ceil(end.epoch)
    if length >= whole:
        return []
    what = f"the learning rate rises again after {length:,} of training's {whole:,} {unit}s"
    return [Problem(f"scheduler.T_max={length}", what, f"Write scheduler.T_max={whole}.")]


def check_covers(scheduler: Any, trainer: pl.Trainer, *, per_step: bool, takes_steps: bool) -> None:
    """Raise UserError for a schedule that would fail because it ends before training.

    per_step: whether it counts steps, not epochs. takes_steps: whether it has the key steps_per_epoch.
    """
    steps = trainer.estimated_stepping_batches if per_step else trainer.max_epochs
    total = getattr(scheduler, "total_steps", None)
    if total is None or steps is None or total >= steps:
        return
    what = f"ends after {total} of training's {steps} {'steps' if per_step else 'epochs'}"
    remedy = f"scheduler.total_steps={steps}"
    if per_step and takes_steps:
        each = trainer.num_training_batches / trainer.accumulate_grad_batches
        remedy = f"scheduler.steps_per_epoch={math.ceil(each)}"
    raise UserError("scheduler.total_steps", what, f"Write {remedy}.")
