"""Arrays from files: memory maps of those that stay there, and room for those that do not."""

from __future__ import annotations

import contextlib
import io
import math
import mmap
import os
import warnings
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

BLOCK = 2**20  # bytes that are read at once


class FileMap(mmap.mmap):
    """A whole file in memory; it knows when the file was written into.

    A file that was deleted or replaced stays what it was for those who have mapped it. One that is cut ends
    the process that reads where nothing is any more (SIGBUS), which no look at its size can rule out: it may
    be cut between the look and the read.
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
        made.path, made.stamp = os.path.abspath(stream.name), _get_stamp(os.fstat(stream.fileno()))
        return made

    @property
    def is_changed(self) -> bool:
        """Whether the numbers may be others by now, or gone."""
        try:
            now = _get_stamp(os.stat(self.path))
        except OSError:
            return False
        return now[0] == self.stamp[0] and now != self.stamp


def _get_stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns


class Mapped(NamedTuple):
    """An array in a memory map, and the map, whose pages can be let go of (see Raw.release).

    mapping: None for an array in memory.
    """

    array: np.ndarray
    mapping: FileMap | None


def map_array(
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


def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """An array in memory, yet to be filled.

    Raises MemoryError where the memory has no room for it: a small file may unpack to any size, and
    the system grants what it does not have, only to end the process when it is used.
    """
    require_room(math.prod(shape) * dtype.itemsize)
    return np.empty(shape, dtype)


def require_room(size: int) -> None:
    """Raise MemoryError where the memory has no room for so many bytes."""
    left = _measure_free_memory()
    if size > left:
        raise MemoryError(
            f"{_format_gib(size)} of numbers, and {_format_gib(left)} of memory are free"
        )


def read_bytes(stream: IO[bytes] | io.BufferedIOBase, shape: tuple[int, ...]) -> np.ndarray:
    """Unsigned bytes in memory, the next ones of a stream.

    Raises ValueError where it ends before, and MemoryError where there is no room.
    """
    array = allocate(shape, np.dtype(np.uint8))
    values = array.reshape(-1)
    for start in range(0, values.size, BLOCK):
        part = values[start : start + BLOCK]
        block = stream.read(part.size)
        if len(block) < part.size:
            raise ValueError(f"it ends after {start + len(block)} of {values.size} values")
        part[:] = np.frombuffer(block, np.uint8)
    return array


def _measure_free_memory() -> float:
    """Bytes that can still be filled; infinite where the system does not say."""
    found = [math.inf]
    with contextlib.suppress(OSError, ValueError, IndexError):
        said = Path("/proc/meminfo").read_text().partition("MemAvailable:")[2]
        found.append(1024 * int(said.split()[0]))
    with contextlib.suppress(OSError, ValueError):  # "max" where a container has no limit
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(found)


def _format_gib(size: float) -> str:
    return f"{size / 2**30:,.2f} GiB"


def as_tensor(array: np.ndarray) -> Tensor:
    """Over the array's own memory, which no one writes to."""
    with warnings.catch_warnings():
        # torch has no tensors to be read only
        warnings.filterwarnings("ignore", ".*not writable.*")
        return torch.from_numpy(array)
