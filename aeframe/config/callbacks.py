"""Callbacks: classes of plug-ins that Lightning calls while it trains, in the root key `callbacks`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aeframe.config.result import Parts
from aeframe.config.signature import list_problems
from aeframe.config.targets import find_named_classes, get_options
from aeframe.core.errors import Problem

PACKAGE = "pytorch_lightning"


def make_callbacks(given: Any, parts: Parts) -> None:
    """Make the callbacks in their order, or add what is wrong with their nodes.

    given: their nodes by name.
    """
    if not isinstance(given, Mapping) or "_target_" in given:
        what = "no plug-in has such an option"
        remedy = "Install its package, or name it: --plugin PACKAGE. Without callbacks write callbacks=[]."
        parts.problems.append(Problem(f"callbacks={given}", what, remedy))
        return
    for name, where, options, cls in find_named_classes(given, "callbacks", object, parts.problems):
        if not is_callback(cls):
            place = f"{where}._target_={options['_target_']}"
            parts.problems.append(Problem(place, f"is not a subclass of {PACKAGE}.Callback"))
            continue
        wrong = list_problems(options, cls, where)
        parts.problems += wrong
        if wrong:
            continue
        try:
            parts.callbacks[name] = cls(**get_options(options))
        except ValueError as error:
            parts.problems.append(Problem(where, str(error)))


def is_callback(cls: type) -> bool:
    """Check for a subclass of Lightning's Callback, without importing Lightning."""
    bases = ((base.__module__.partition(".")[0], base.__name__) for base in cls.__mro__)
    return (PACKAGE, "Callback") in bases
