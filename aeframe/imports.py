"""Importing what is heavy: late, once, and without what nobody needs of it."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

SIGNAL = "scipy.signal"


@cache
def imported(module: str) -> Any:
    """The module, imported with all that it needs when it is first wanted.

    Nothing of that is ever garbage. Searching it again and again while it grows, in training and at the
    exit takes longer than the rest of the import.
    """
    gc.disable()
    try:
        with _without_signal():
            return importlib.import_module(module)
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _without_signal() -> Iterator[None]:
    """Let scipy.signal be empty for a while.

    torchmetrics, which Lightning imports, looks there for one name and uses nothing of it; importing it
    takes half a second, a sixth of the way to the first step. Whoever wants it later gets the real one.
    """
    if SIGNAL in sys.modules:
        yield
        return
    stand_in = ModuleType(SIGNAL)
    vars(stand_in)["hamming"] = None
    sys.modules[SIGNAL] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(SIGNAL) is stand_in:
            del sys.modules[SIGNAL]
