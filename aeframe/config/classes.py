"""From the dotted name in a node to the class that it names, and what the class takes from the node."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from typing import Any

from aeframe.config.signature import parameters

LIBRARY = ("aeframe.", "torch.optim.")
"""Where classes that a configuration names may come from."""


def resolve(target: str) -> Any:
    """The class of this dotted name. Raises ValueError for names outside the known libraries."""
    if not target.startswith(LIBRARY):
        raise ValueError(
            f"only classes of {' and '.join(p + '*' for p in LIBRARY)} can be named here"
        )
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError("there is no such class") from error


def options_of(options: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, Any]:
    """What a node hands to its class."""
    return {k: v for k, v in options.items() if k != "_target_" and k not in without}


def keys(target: Any) -> set[str]:
    """What can be written for a class."""
    return set(parameters(target))
