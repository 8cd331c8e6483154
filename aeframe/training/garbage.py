"""Memory of a finished run: Lightning's Trainer, its loops, the module and the data refer to each other."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def collects(work: Callable[P, T]) -> Callable[P, T]:
    """Make a function free what it leaves in cycles.

    Python would look for it only when many more objects were made, and a few tensors hold gigabytes.
    """

    @wraps(work)
    def collected(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(*args, **kwargs)
        finally:
            gc.collect()

    return collected
