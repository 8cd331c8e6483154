"""Arrays that stay in their file: memory maps."""

from __future__ import annotations

import math
import mmap
from typing import IO, Any, Literal, NamedTuple

import numpy as np


class Mapped(NamedTuple):
    """An array in a memory map, and the map, whose pages can be let go of (see Raw.release).

    mapping: None for an array in memory.
    """

    array: np.ndarray
    mapping: mmap.mmap | None


def mapped(
    stream: IO[bytes],
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    *,
    offset: int = 0,
    order: Literal["C", "F"] = "C",
) -> Mapped:
    """The array of `shape` that begins `offset` bytes into an open file; nothing is read.

    Raises ValueError where the file is too short.
    """
    # copy-on-write: torch wants memory that it could write to; the file never changes
    mapping = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    array = np.frombuffer(mapping, dtype, math.prod(shape), offset)
    return Mapped(array.reshape(shape, order=order), mapping)
