"""Optimizers and schedulers of torch.optim: checks of their nodes, and how they are made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    LambdaLR,
    LRScheduler,
    MultiplicativeLR,
    OneCycleLR,
    ReduceLROnPlateau,
)

from aeframe.config.signature import list_problems
from aeframe.config.targets import find_class, get_options, resolve
from aeframe.core.errors import Problem

FUNCTIONS = (LambdaLR, MultiplicativeLR)
"""Schedulers that take a function of Python's."""
ALONE: dict[type, str] = {
    ReduceLROnPlateau: "ReduceLROnPlateau needs a metric, which other schedulers do not pass on",
    OneCycleLR: "OneCycleLR warms up and ends by itself",
}
"""Schedulers that cannot be among others, and why."""
EXAMPLE = "Write SequentialLR with schedulers and milestones, as in conf/config.yaml."


def find_library_class(
    node: Mapping[str, Any], where: str, base: type, provided: str, found: list[Problem]
) -> type | None:
    """Return the class that a node names, or None. All problems with it go to `found`."""
    cls = find_class(node, where, base, found)
    if cls in FUNCTIONS:
        what = "takes a Python function, which no configuration can hold"
        found.append(Problem(f"{where}._target_={node['_target_']}", what, EXAMPLE))
        return None
    if cls is not None:
        found += list_problems(node, cls, where, (provided,))
    rate = node.get("lr", 1.0)
    if isinstance(rate, bool) or not isinstance(rate, (int, float)):
        remedy = "To change the rate during training, set scheduler: see conf/config.yaml."
        found.append(Problem(f"{where}.lr={rate}", "expected a number", remedy))
    elif rate <= 0:
        found.append(Problem(f"{where}.lr={rate:g}", "must be above 0"))
    elif not math.isfinite(rate):
        found.append(Problem(f"{where}.lr={rate:g}", "must be finite"))
    return cls


def find_scheduler_class(node: Mapping[str, Any], where: str, found: list[Problem]) -> type | None:
    """Return the class of a scheduler, after a check of the schedulers that it combines."""
    cls = find_library_class(node, where, LRScheduler, "optimizer", found)
    within = node.get("schedulers", ())
    for number, inner in enumerate(within if isinstance(within, list) else ()):
        place = f"{where}.schedulers.{number}"  # as it is typed
        if not isinstance(inner, Mapping):
            found.append(Problem(f"{place}={inner}", "expected {_target_: CLASS, ...}"))
        elif (why := ALONE.get(find_scheduler_class(inner, place, found) or type)) is not None:
            found.append(Problem(place, why, "Write it as the only scheduler."))
    return cls


def make_scheduler(node: Mapping[str, Any], without: Sequence[str] = ()) -> partial[Any]:
    """Return a function from an optimizer to its scheduler. without: keys that the class does not have."""
    cls, options = resolve(node["_target_"]), get_options(node, without)
    if "schedulers" not in options:
        return partial(cls, **options)
    within = [make_scheduler(inner) for inner in options.pop("schedulers")]
    return partial(_combine, cls=cls, within=within, **options)


def _combine(
    optimizer: Optimizer, *, cls: type, within: Sequence[partial[Any]], **options: Any
) -> Any:
    """Combine schedulers of one optimizer into one."""
    schedulers = [make(optimizer) for make in within]
    return cls(optimizer=optimizer, schedulers=schedulers, **options)
