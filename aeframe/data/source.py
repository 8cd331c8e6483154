"""Samples as one tensor, and what a source of them offers."""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from aeframe.core.errors import Problem, TrainingError
from aeframe.data.memory_map import FileMap, as_tensor

Shape = tuple[int, ...]

CHUNK = 2**20  # elements that are looked at at once: 8 MiB in double precision
RESIDENT = 2**26  # bytes of mapped data that are read before their pages are let go of
NEIGHBOURS = 2**16  # bytes that the system maps around a page that is read


def choose_row_dtype(count: int) -> torch.dtype:
    """The type of numbers of so many rows: of tens of millions they take memory, too."""
    return torch.int32 if count < 2**31 else torch.int64


class Share(NamedTuple):
    """One rank's part of a batch: positions in a split, and the size of the batch of all ranks."""

    positions: Tensor
    total: int

    def __reduce__(self) -> tuple[Any, ...]:
        """By its numbers: a tensor is handed to another process by a thread that complains if that dies."""
        return _rebuild_share, (self.positions.numpy(), self.total)


def _rebuild_share(positions: np.ndarray, total: int) -> Share:
    return Share(as_tensor(positions), total)


class Batch(NamedTuple):
    """x [B, *shape] as stored, and the row of each in the source, [B].

    total: the size of the batch of all ranks, of which this is one rank's part.
    """

    x: Tensor
    row: Tensor
    total: int


@dataclass(frozen=True)
class Raw:
    """What a source holds.

    data: [N, *shape], in memory or memory-mapped. labels: int64 [N], or None.
    test: the source's own test split, if it has one. low, high: the range of the values where it is
    known beforehand. classes: names of the labels. origin: the key and the file, for messages.
    mapping: the memory map that `data` lies in, or None where it is in memory. together: so many rows, one
    after the other, are of one thing, and stay in one split. assumed: low and high are those of the storage
    type, and nobody has said them. levels: the values in image files that became low and high, where these
    were measured.
    """

    data: Tensor
    labels: Tensor | None = None
    test: Raw | None = None
    low: float | None = None
    high: float | None = None
    classes: tuple[str, ...] = ()
    origin: str = "dataset"
    mapping: FileMap | None = None
    together: int = 1
    assumed: bool = False
    levels: tuple[float, float] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the samples, without the test split's; what in_memory() takes."""
        return self.data.nbytes

    def release(self) -> None:
        """Let go of the pages of memory-mapped data that were read, the test split's too.

        They leave the resident memory, and are read again when they are needed.
        """
        if self.mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.mapping.madvise(mmap.MADV_DONTNEED)
        if self.test is not None:
            self.test.release()

    def on(self, device: torch.device) -> Raw:
        """The same with the samples in a device's memory."""
        return replace(self, data=self.data.to(device), mapping=None)

    def in_memory(self) -> Raw:
        """The same with memory-mapped data copied to one contiguous tensor.

        A test split of its own stays where it is: it is read once, at the end. The peak is nbytes and
        a chunk. Data that is in memory already is not copied.
        """
        if self.mapping is None:
            return self
        data = torch.empty(self.data.shape, dtype=self.data.dtype)
        outer = max(range(data.ndim), key=self.data.stride)  # Fortran's order has it last
        step = max(1, CHUNK * data.shape[outer] // data.numel())
        for source, target in zip(
            self.data.split(step, outer), data.split(step, outer), strict=True
        ):
            target.copy_(source)
            self.release()
        return replace(self, data=data, mapping=None)

    def chunks(self) -> Iterator[tuple[int, Tensor]]:
        """The samples in their order, some at a time, each with the row that it starts at.

        What was mapped of one is released before the next.
        """
        rows = max(1, CHUNK // self.data[0].numel())
        for start in range(0, len(self.data), rows):
            yield start, self.data[start : start + rows]
            self.release()

    def __getstate__(self) -> dict[str, Any]:
        """Of mapped data only where it lies: another process maps it, too."""
        state = dict(vars(self))
        if self.mapping is not None:
            begin = self.data.data_ptr() - np.frombuffer(self.mapping, np.uint8).ctypes.data
            layout = (begin, self.data.dtype, self.data.shape, self.data.stride())
            state |= {"data": None, "mapping": (self.mapping.path, *layout)}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.mapping is not None:
            path, begin, dtype, shape, stride = state["mapping"]
            with open(path, "rb") as stream:
                mapping = FileMap.of(stream)
            span = 1 + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
            raw = np.frombuffer(mapping, np.uint8, span * dtype.itemsize, begin)
            data = as_tensor(raw).view(dtype).as_strided(shape, stride)
            vars(self).update(data=data, mapping=mapping)


class Samples(Dataset[Batch]):
    """One split: rows `index` of a common tensor, which is not copied. Indexing gives a whole Batch."""

    def __init__(self, raw: Raw, index: Tensor) -> None:
        self.raw, self.index = raw, index
        self._resident = 0  # bytes of mapped data, at most

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, chosen: Share | slice) -> Batch:
        if isinstance(chosen, slice):
            rows = self.index[chosen]
            return self.batch(rows, len(rows))
        return self.batch(self.index.index_select(0, chosen.positions), chosen.total)

    def evenly(self, n: int) -> Tensor:
        """The positions of at most n samples, spread evenly: a source may be sorted by class."""
        last = len(self) - 1
        return torch.linspace(0, last, min(n, last + 1), dtype=torch.float64).round().long()

    def batch(self, rows: Tensor, total: int) -> Batch:
        """Rows of the common tensor, bfloat16 as float32. total: see `Batch`."""
        x = self._gathered(rows)
        return Batch(x.float() if x.dtype == torch.bfloat16 else x, rows, total)

    @property
    def dtype(self) -> torch.dtype:
        """The type of a batch's numbers: that of the stored ones, where NumPy has it."""
        stored = self.raw.data.dtype
        return torch.float32 if stored == torch.bfloat16 else stored

    def _gathered(self, rows: Tensor) -> Tensor:
        data = self.raw.data
        if self.raw.mapping is None:
            return data.index_select(0, rows)
        if self.raw.mapping.is_changed:
            what = f"{self.raw.mapping.path} was written into while it was in use"
            remedy = "Replace files instead, and start again."
            raise TrainingError(str(Problem(self.raw.origin, what, remedy)))
        found = torch.empty((len(rows), *data.shape[1:]), dtype=data.dtype)
        each = max(NEIGHBOURS, data[0].nbytes)
        step = max(1, RESIDENT // each)
        for part, place in zip(rows.split(step), found.split(step), strict=True):
            self._resident += len(part) * each
            if self._resident > RESIDENT:
                self.raw.release()
                self._resident = 0
            torch.index_select(data, 0, part, out=place)
        return found


class Source(ABC):
    """A data set, before it is split and batched. Constructing one reads nothing."""

    @abstractmethod
    def shape(self) -> Shape | None:
        """Of one sample, found without reading the samples; None where that is impossible."""

    def description(self) -> str:
        """The name of the source, and how its samples were read, in a few words."""
        return type(self).__name__

    def problems(self) -> list[Problem]:
        """What can be seen to be wrong without reading the samples."""
        return []

    @abstractmethod
    def load(self) -> Raw:
        """Read the samples. Raises UserError that names the file and what to do."""
