"""Learning rates of a run that goes on with a schedule of another length."""

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
"""Options of optimizers that schedules change; RATES: those that a run that went back lowers."""


def lengths_in(state: Any, like: Collection[str]) -> dict[str, int]:
    """The lengths that a schedule's state holds. like: the names that it has."""
    found = as_mapping(state)
    return {key: n for key in LENGTHS if key in like and is_count(n := found.get(key)) and n > 0}


def follow(
    optimizer: Optimizer,
    scheduler: Any,
    make: Callable[[list[nn.Parameter]], tuple[Optimizer, Any]],
) -> bool:
    """Let a schedule that was loaded go on as one of the configured length would have come here.

    make: optimizer and schedule as they begin, of some weights. Returns whether the length had changed.
    """
    trial, planned = make([nn.Parameter(torch.zeros(1))])
    if lengths_in(vars(planned), vars(planned)) == lengths_in(vars(scheduler), vars(planned)):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no optimizer steps between these
        for _ in range(scheduler.last_epoch):
            planned.step()
    scheduler.load_state_dict(planned.state_dict())
    for group, wanted in zip(optimizer.param_groups, trial.param_groups, strict=True):
        group.update({key: wanted[key] for key in (*CYCLED, *RATES) if key in wanted})
    return True
