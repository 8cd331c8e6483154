"""Importing what is heavy: late, once, and without what nobody needs of it."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

from aeframe.core.signals import held_back

SIGNAL = "scipy.signal"


@cache
def imported(module: str) -> Any:
    """The module, imported with all that it needs when it is first wanted.

    Nothing of that is ever garbage. Searching it again and again while it grows, in training and at the
    exit takes longer than the rest of the import.
    """
    gc.disable()
    try:
        with held_back(), _without_signal():
            return importlib.import_module(module)
    finally:
        gc.freeze()
        gc.enable()


class _Deferred(ModuleType):
    """Stands in for a module of a package until something of it is wanted, and then lets it in."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        del self.__spec__  # as a module without one it could not be found

    def __getattr__(self, name: str) -> Any:
        if name == "__spec__":
            package = importlib.import_module(self.__name__.rpartition(".")[0])
            self.__spec__ = PathFinder.find_spec(self.__name__, package.__path__)
            return self.__spec__
        if name == "__path__":
            spec = self.__spec__
            return None if spec is None else spec.submodule_search_locations
        if name == "__file__":  # inspect asks it of all modules, which is not to want this one
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def _without_signal() -> Iterator[None]:
    """Let scipy.signal be empty for a while.

    torchmetrics, which Lightning imports, looks there for one name and uses nothing of it; importing it
    takes half a second, a sixth of the way to the first step. Whoever wants more gets the real one.
    """
    if SIGNAL in sys.modules:
        yield
        return
    stand_in = _Deferred(SIGNAL)
    vars(stand_in)["hamming"] = None
    sys.modules[SIGNAL] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(SIGNAL) is stand_in:
            del sys.modules[SIGNAL]
