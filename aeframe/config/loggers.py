"""Loggers: where the curves of a run go, in the root key `logger`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aeframe.config.result import Parts
from aeframe.config.signature import list_problems
from aeframe.config.targets import find_named_classes, get_options
from aeframe.core.errors import Problem

BASE = ("aeframe.monitoring.loggers.record", "RunLogger")


def make_loggers(given: Any, parts: Parts) -> None:
    """Make the loggers, or add what is wrong with their nodes. given: their nodes by name."""
    if not isinstance(given, Mapping) or "_target_" in given:
        remedy = "Write logger=tensorboard, logger=csv or logger=[tensorboard,mlflow]."
        parts.problems.append(Problem(f"logger={given}", "expected names of loggers", remedy))
        return
    for name, where, options, cls in find_named_classes(given, "logger", object, parts.problems):
        if BASE not in ((base.__module__, base.__name__) for base in cls.__mro__):
            place = f"{where}._target_={options['_target_']}"
            parts.problems.append(Problem(place, "is not a subclass of RunLogger"))
            continue
        wrong = list_problems(options, cls, where)
        parts.problems += wrong
        if not wrong:
            parts.loggers[name] = cls(**get_options(options))
