"""Arrays that stay in their file: memory maps."""

from __future__ import annotations

import math
import mmap
import os
import warnings
from typing import IO, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor


class FileMap(mmap.mmap):
    """A whole file in memory; it knows when the file was written into.

    A file that was deleted or replaced stays what it was for those who have mapped it.
    """

    path: str
    stamp: tuple[int, ...]

    @classmethod
    def of(cls, stream: IO[bytes]) -> FileMap:
        """Of an open file. What is written to it stays in this process."""
        try:
            made = cls(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        except OSError:  # the system keeps room for what might be written, and has not as much
            made = cls(stream.fileno(), 0, access=mmap.ACCESS_READ)
        made.path, made.stamp = os.path.abspath(stream.name), _stamp(os.fstat(stream.fileno()))
        return made

    @property
    def is_changed(self) -> bool:
        """Whether the numbers may be others by now, or gone."""
        try:
            now = _stamp(os.stat(self.path))
        except OSError:
            return False
        return now[0] == self.stamp[0] and now != self.stamp


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns


class Mapped(NamedTuple):
    """An array in a memory map, and the map, whose pages can be let go of (see Raw.release).

    mapping: None for an array in memory.
    """

    array: np.ndarray
    mapping: FileMap | None


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
    mapping = FileMap.of(stream)
    array = np.frombuffer(mapping, dtype, math.prod(shape), offset)
    return Mapped(array.reshape(shape, order=order), mapping)


def tensor(array: np.ndarray) -> Tensor:
    """Over the array's own memory, which no one writes to."""
    with warnings.catch_warnings():
        # torch has no tensors to be read only
        warnings.filterwarnings("ignore", ".*not writable.*")
        return torch.from_numpy(array)
