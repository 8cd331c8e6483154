"""Imports of heavy libraries, inside the functions that need them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from aeframe.core.signals import delay_sigint


@contextmanager
def protect_imports(*, owns_process: bool = False) -> Iterator[None]:
    """Import within this context without interruption, and without garbage collection.

    Modules are never garbage. Searching them while they grow takes a sixth of the time to the first step.
    owns_process: the caller is a command, not a library; later searches then leave out all objects that
    exist after a first import. Searching half a million of them takes a third of a second each time.
    """
    is_searching, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        with delay_sigint():
            yield
    finally:
        if owns_process and len(sys.modules) > known:
            gc.freeze()
        if is_searching:
            gc.enable()
