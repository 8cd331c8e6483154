"""Memory of a finished run, whose Trainer, loops, module and data refer to each other."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def free_cycles(work: Callable[P, T]) -> Callable[P, T]:
    """Make a function free the objects that it leaves in reference cycles.

    Python would free them only after many more objects were made, but a few tensors hold gigabytes.
    """

    @wraps(work)
    def collected(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(*args, **kwargs)
        finally:
            gc.collect()

    return collected
