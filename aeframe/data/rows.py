"""Rows: the samples of a source, in memory, in a memory-mapped file, or in many files."""

from __future__ import annotations

import math
import mmap
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from aeframe.core.errors import Problem, TrainingError
from aeframe.data.memory_map import FileMap

CHUNK = 2**20  # elements that are processed at once: 8 MiB in double precision
RESIDENT = 2**26  # bytes of mapped data that are read before their pages are released
NEIGHBORS = 2**16  # bytes that the system maps around each page


class Spans(NamedTuple):
    """Places of samples in a series. starts: ascending, [N]. length: of each sample."""

    starts: Tensor
    length: int


class Rows(ABC):
    """Samples, [N, *sample], that are read in parts. shape: of all. dtype: of the stored numbers."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def sample(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self.shape[1:]

    @property
    def elements(self) -> int:
        """The number of elements of one sample."""
        return math.prod(self.shape[1:])

    @property
    def sample_bytes(self) -> int:
        """The bytes of one sample."""
        return self.elements * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all samples."""
        return len(self) * self.sample_bytes

    @property
    def chunk(self) -> int:
        """The number of samples that are processed at once."""
        return max(1, CHUNK // self.elements)

    @property
    def is_in_memory(self) -> bool:
        """Check whether nothing is read from files any more."""
        return False

    @property
    def spans(self) -> Spans | None:
        """The places of samples that are parts of one series, or None for samples without an order."""
        return None

    def copy_to(self, device: torch.device) -> Tensor | Rows:
        """Return a copy in the memory of a device."""
        return self.read_all().to(device)

    @abstractmethod
    def select(self, rows: Tensor) -> Tensor:
        """Read the samples with these row numbers, [n], in memory of their own."""

    @abstractmethod
    def read_chunks(self) -> Iterator[tuple[int, Tensor]]:
        """Iterate over the samples in order, in chunks, each with its first row.

        What was read for a chunk is released before the next.
        """

    @abstractmethod
    def read_all(self) -> Tensor:
        """Read all samples into one contiguous tensor. The peak is nbytes and a chunk."""

    def release(self) -> None:  # noqa: B027
        """Release memory that can be filled again from the files; there may be none."""


class MemoryRows(Rows):
    """Rows of a tensor in memory."""

    def __init__(self, data: Tensor) -> None:
        self.data, self.shape, self.dtype = data, tuple(data.shape), data.dtype

    @property
    def is_in_memory(self) -> bool:
        return True

    def copy_to(self, device: torch.device) -> Tensor:
        return self.data.to(device)

    def select(self, rows: Tensor) -> Tensor:
        return self.data.index_select(0, rows)

    def read_chunks(self) -> Iterator[tuple[int, Tensor]]:
        for start in range(0, len(self), self.chunk):
            yield start, self.data[start : start + self.chunk]
            self.release()

    def read_all(self) -> Tensor:
        return self.data


class MappedRows(MemoryRows):
    """Rows of a tensor in a memory map. origin: the key and the file, for messages."""

    def __init__(self, data: Tensor, mapping: FileMap, origin: str) -> None:
        super().__init__(data)
        self.mapping, self.origin = mapping, origin
        self._resident = 0  # bytes that were read and not released, at most

    @property
    def is_in_memory(self) -> bool:
        return False

    def select(self, rows: Tensor) -> Tensor:
        if self.mapping.is_changed:
            what = f"{self.mapping.path} was changed while it was in use"
            remedy = "Start again. To update a file, replace it by a new one."
            raise TrainingError(str(Problem(self.origin, what, remedy)))
        found = torch.empty((len(rows), *self.sample), dtype=self.dtype)
        each = max(NEIGHBORS, self.sample_bytes)
        step = max(1, RESIDENT // each)
        for part, place in zip(rows.split(step), found.split(step), strict=True):
            self._resident += len(part) * each
            if self._resident > RESIDENT:
                self.release()
                self._resident = 0
            torch.index_select(self.data, 0, part, out=place)
        return found

    def read_all(self) -> Tensor:
        data = torch.empty(self.shape, dtype=self.dtype)
        outer = max(range(data.ndim), key=self.data.stride)  # the last axis in Fortran order
        step = max(1, CHUNK * data.shape[outer] // data.numel())
        for source, target in zip(
            self.data.split(step, outer), data.split(step, outer), strict=True
        ):
            target.copy_(source)
            self.release()
        return data

    def release(self) -> None:
        if hasattr(mmap, "MADV_DONTNEED"):
            self.mapping.madvise(mmap.MADV_DONTNEED)
