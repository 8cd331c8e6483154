"""Learning rates of a run that is resumed with a schedule of another length."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from aeframe.core.plain import as_mapping, is_count
from aeframe.training.divergence import RATES
from aeframe.training.schedule_lengths import LENGTHS

CYCLED = ("lr", "momentum", "betas")
"""Options of an optimizer that schedules change. RATES are lowered after a divergence, too."""


def find_lengths(state: Any, like: Collection[str]) -> dict[str, int]:
    """Find the lengths in a schedule's state. like: the names that the schedule has."""
    found = as_mapping(state)
    return {key: n for key in LENGTHS if key in like and is_count(n := found.get(key)) and n > 0}


def advance_schedule(
    optimizer: Optimizer,
    scheduler: Any,
    make: Callable[[list[nn.Parameter]], tuple[Optimizer, Any]],
) -> bool:
    """Set a loaded schedule to the state that one of the configured length would have reached by now.

    make: makes a new optimizer and schedule for some weights. Returns whether the length had changed.
    """
    trial, planned = make([nn.Parameter(torch.zeros(1))])
    if find_lengths(vars(planned), vars(planned)) == find_lengths(vars(scheduler), vars(planned)):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no optimizer steps between these
        for _ in range(scheduler.last_epoch):
            planned.step()
    scheduler.load_state_dict(planned.state_dict())
    for group, wanted in zip(optimizer.param_groups, trial.param_groups, strict=True):
        group.update({key: wanted[key] for key in (*CYCLED, *RATES) if key in wanted})
    return True
