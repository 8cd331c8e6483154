"""Imports of heavy libraries, inside the functions that need them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from aeframe.core.signals import delay_sigint


@contextmanager
def protect_imports() -> Iterator[None]:
    """Import within this context without interruption, and without garbage collection.

    Modules are never garbage. Searching them while they grow takes a sixth of the time to the first step.
    """
    is_searching = gc.isenabled()
    gc.disable()
    try:
        with delay_sigint():
            yield
    finally:
        if is_searching:
            gc.enable()
