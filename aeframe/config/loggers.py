"""Loggers: where the curves of a run go, in the root key `logger`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aeframe.config.result import Parts
from aeframe.config.signature import list_problems
from aeframe.config.targets import find_class, get_options
from aeframe.core.errors import Problem

BASE = ("aeframe.monitoring.loggers.record", "RunLogger")


def make_loggers(given: Any, parts: Parts) -> None:
    """Make the loggers, or add what is wrong with their nodes. given: their nodes by name."""
    if not isinstance(given, Mapping) or "_target_" in given:
        remedy = "Write logger=tensorboard, logger=csv or logger=[tensorboard,mlflow]."
        parts.problems.append(Problem(f"logger={given}", "expected names of loggers", remedy))
        return
    for name, options in given.items():
        where = f"logger.{name}"
        if not isinstance(options, Mapping) or "_target_" not in options:
            what = "is not among the chosen loggers"
            parts.problems.append(Problem(where, what, f"Add {name} to logger=[...]."))
            continue
        cls = find_class(options, where, object, parts.problems)
        if cls is None:
            continue
        if BASE not in ((base.__module__, base.__name__) for base in cls.__mro__):
            where = f"{where}._target_={options['_target_']}"
            parts.problems.append(Problem(where, "is not a subclass of RunLogger"))
            continue
        wrong = list_problems(options, cls, where)
        parts.problems += wrong
        if not wrong:
            parts.loggers[str(name)] = cls(**get_options(options))
