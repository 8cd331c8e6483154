"""Checks of optimizer and scheduler, and their arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from inspect import unwrap
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from aeframe.config.options import SchedulerOptions
from aeframe.config.signature import list_problems
from aeframe.config.targets import get_options, list_keys, resolve
from aeframe.config.torch_classes import find_library_class, find_scheduler_class, make_scheduler
from aeframe.core.errors import Problem

FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
FLAT = (torch.optim.LBFGS,)
"""Optimizers that take all gradients as one vector, and so weights in the usual layout only."""


def build_optimizer_arguments(
    optimizer: Mapping[str, Any], cls: type, clips_mixed: bool
) -> dict[str, Any]:
    """Return the optimizer's arguments: as written, and its fused form if that is safe and none was
    chosen.

    clips_mixed: gradients are clipped in mixed precision, which Lightning refuses with fused forms.
    """
    given = get_options(optimizer)
    choices = {"foreach", "fused", "differentiable"}
    chosen = any(given.get(key) for key in choices) or "fused" in given
    if clips_mixed or chosen or cls not in FUSED:
        return given
    return {**given, "fused": True}


def build_scheduler_options(
    scheduler: Mapping[str, Any], trainer: Mapping[str, Any], metric: str
) -> dict[str, Any]:
    """Return Lightning's options of the schedule. metric: the monitored one by default."""
    given = {k: v for k, v in scheduler.items() if k in list_keys(SchedulerOptions)}
    if resolve(scheduler["_target_"]) is not ReduceLROnPlateau:
        return {"monitor": metric, **given}
    # not strict: a limit of steps or time may end training before the first validation
    return {
        "monitor": metric,
        "frequency": _count_between_validations(given, trainer),
        "strict": False,
        **given,
    }


def _count_between_validations(
    scheduler: Mapping[str, Any], trainer: Mapping[str, Any]
) -> int | None:
    """Count a schedule's intervals between validations; None if validations fall between intervals."""
    epochs: Any = trainer.get("check_val_every_n_epoch", 1)
    steps: Any = trainer.get("val_check_interval")
    if scheduler.get("interval", "epoch") == "epoch":
        return epochs
    return steps if isinstance(steps, int) and epochs == 1 else None


def _find_plateau_problems(
    scheduler: Mapping[str, Any], trainer: Mapping[str, Any]
) -> Iterator[Problem]:
    """Find intervals at which ReduceLROnPlateau would read an outdated metric."""
    every, frequency = _count_between_validations(scheduler, trainer), scheduler.get("frequency")
    if every is None:
        what = "ReduceLROnPlateau needs a validation, but none follows a fixed number of steps"
        yield Problem("scheduler.interval=step", what, "Write scheduler.interval=epoch.")
    elif frequency is not None and isinstance(every, int) and frequency % every:
        unit = scheduler.get("interval", "epoch")
        what = (
            f"ReduceLROnPlateau reads a validation metric, which is new only every {every} {unit}s"
        )
        remedy = f"Write scheduler.frequency={every}, or leave it out."
        yield Problem(f"scheduler.frequency={frequency}", what, remedy)


def list_optimizer_problems(
    optimizer: Mapping[str, Any], scheduler: Mapping[str, Any] | None, trainer: Mapping[str, Any]
) -> list[Problem]:
    """List what is wrong with either node, or with the two together."""
    found: list[Problem] = []
    cls = find_library_class(optimizer, "optimizer", Optimizer, "params", found)
    own = list_keys(SchedulerOptions)
    if scheduler is not None:
        lightnings = {k: v for k, v in scheduler.items() if k in own}
        found += list_problems(lightnings, SchedulerOptions, "scheduler")
        named = {k: v for k, v in scheduler.items() if k not in own}
        planned = find_scheduler_class(named, "scheduler", found)
        if planned is ReduceLROnPlateau and not found:
            found += _find_plateau_problems(scheduler, trainer)
    if found or cls is None:
        return found
    schedule = None if scheduler is None else make_scheduler(scheduler, list(own))
    problem = try_optimizer(cls, get_options(optimizer), schedule)
    return [] if problem is None else [problem]


def try_optimizer(
    optimizer: type[Optimizer],
    arguments: Mapping[str, Any],
    schedule: Callable[[Optimizer], Any] | None,
) -> Problem | None:
    """Take one step on a trial parameter to find wrong values: classes check some only when used."""
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = torch.ones(2)
    where = "optimizer"
    try:
        with torch.set_grad_enabled(arguments.get("differentiable", False)):
            trial = _remove_wrappers(optimizer)([weight], **arguments)
            trial.step(lambda: 0.0)
            where = "scheduler"
            if schedule is not None:
                planned = schedule(trial)
                trial.step(lambda: 0.0)
                advance: Any = planned.step
                advance(*([0.0] if isinstance(planned, ReduceLROnPlateau) else []))
    except Exception as error:  # each class has its own kinds
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        return Problem(where, f"does not work ({reason})")
    return None


def _remove_wrappers(optimizer: type[Optimizer]) -> type[Optimizer]:
    """Return the class without torch.compile's wrappers around its methods. They import torch._dynamo,
    which takes longer than all other checks.
    """
    methods = {name: unwrap(getattr(optimizer, name)) for name in ("add_param_group", "step")}
    return type(optimizer.__name__, (optimizer,), methods)
