"""Learning-rate schedules as long as training, also of a run that goes on for longer than it was to."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from aeframe.core.errors import Problem
from aeframe.core.plain import is_count, mapping
from aeframe.core.schedules import Clock
from aeframe.runs.checkpoint import Saved

LENGTHS = ("T_max", "total_steps", "total_iters", "epochs")
"""The options of torch's schedules that say for how many epochs or steps they last."""


def stretched(
    scheduler: Mapping[str, Any], saved: Saved, trainer: Mapping[str, Any], typed: Collection[str]
) -> dict[str, Any]:
    """The keys of `scheduler`, of which the lengths that were training's are those of the new training.

    saved: the run that goes on. trainer: its new keys. typed: keys of the command line, which stay.
    """
    before, changed = mapping(saved.node.get("trainer")), dict(scheduler)
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


def length_notes(scheduler: Mapping[str, Any] | None, end: Clock | None) -> list[Problem]:
    """Warn of a learning rate that falls and climbs again. end: of training, if it is known."""
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
    what = f"the learning rate climbs again after {length:,} of training's {whole:,} {unit}s"
    return [Problem(f"scheduler.T_max={length}", what, f"Write scheduler.T_max={whole}.")]
