"""Arrays from files: memory maps, and memory for those that are read."""

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
    """Memory map of a whole file, which notices when the file is written to.

    A deleted or replaced file stays as it was for processes that mapped it. A truncated file ends a process
    that reads beyond its end (SIGBUS). A check of the size cannot prevent this: the file may be truncated
    between the check and the read.
    """

    path: str
    stamp: tuple[int, ...]

    @classmethod
    def map_file(cls, stream: IO[bytes]) -> FileMap:
        """Map an open file. Writes to the map stay in this process."""
        try:
            made = cls(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        except OSError:  # the system reserves memory for writes, and has not enough
            made = cls(stream.fileno(), 0, access=mmap.ACCESS_READ)
        made.path, made.stamp = os.path.abspath(stream.name), _get_stamp(os.fstat(stream.fileno()))
        return made

    @property
    def is_changed(self) -> bool:
        """Check whether the file was written to since it was mapped."""
        try:
            now = _get_stamp(os.stat(self.path))
        except OSError:
            return False
        return now[0] == self.stamp[0] and now != self.stamp


def _get_stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns


class Mapped(NamedTuple):
    """An array in a memory map, and the map, whose pages can be released (see Raw.release).

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
    """Map the array of `shape` at `offset` bytes of an open file; nothing is read.

    Raises ValueError if the file is too short.
    """
    mapping = FileMap.map_file(stream)
    array = np.frombuffer(mapping, dtype, math.prod(shape), offset)
    return Mapped(array.reshape(shape, order=order), mapping)


def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Allocate an array in memory. Its values are undefined.

    Raises MemoryError if it does not fit into free memory. A small file may unpack to any size, and the
    system grants more memory than it has, then ends the process that uses it.
    """
    require_room(math.prod(shape) * dtype.itemsize)
    return np.empty(shape, dtype)


def require_room(size: int) -> None:
    """Raise MemoryError if `size` bytes do not fit into free memory."""
    left = _measure_free_memory()
    if size > left:
        raise MemoryError(f"{_format_gib(size)} of memory, but only {_format_gib(left)} are free")


def read_bytes(stream: IO[bytes] | io.BufferedIOBase, shape: tuple[int, ...]) -> np.ndarray:
    """Read the next unsigned bytes of a stream into memory.

    Raises ValueError if the stream ends early, and MemoryError if they do not fit into memory.
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
    """Measure the free memory in bytes; infinite if the system does not report it."""
    found = [math.inf]
    with contextlib.suppress(OSError, ValueError, IndexError):
        available = Path("/proc/meminfo").read_text().partition("MemAvailable:")[2]
        found.append(1024 * int(available.split()[0]))
    with contextlib.suppress(OSError, ValueError):  # "max" in a container without a limit
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(found)


def _format_gib(size: float) -> str:
    return f"{size / 2**30:,.2f} GiB"


def as_tensor(array: np.ndarray) -> Tensor:
    """Return a tensor that shares the memory of an array. Do not write to it."""
    with warnings.catch_warnings():
        # torch has no read-only tensors
        warnings.filterwarnings("ignore", ".*not writable.*")
        return torch.from_numpy(array)


def get_torch_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the closest type of torch: native byte order, bytes for booleans, at most 64 bits."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    return np.dtype(np.float64) if dtype.itemsize > 8 else dtype.newbyteorder("=")
